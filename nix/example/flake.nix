{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
  inputs.fleetswap.url = "path:../";
  inputs.fleetswap.inputs.nixpkgs.follows = "nixpkgs";

  outputs =
    {
      self,
      nixpkgs,
      fleetswap,
    }:
    {
      nixosConfigurations.web = nixpkgs.lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          fleetswap.nixosModules.default
          fleetswap.nixosModules.web
          ./server.nix
        ];
      };
      packages.x86_64-linux.web = self.nixosConfigurations.web.config.system.build.fleetswapImage;
    };
}
