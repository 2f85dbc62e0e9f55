{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
  # In a copy of this folder: the path of Fleetswap's folder nix, or git+https://…/fleetswap?dir=nix.
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
