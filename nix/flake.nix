{
  description = "NixOS machines as disks for Fleetswap";

  # An own flake has its own nixpkgs: `inputs.fleetswap.inputs.nixpkgs.follows = "nixpkgs";`.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { nixpkgs, ... }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      each = nixpkgs.lib.genAttrs systems;
      images = each (system: import ./default.nix { inherit nixpkgs system; });
    in
    {
      nixosModules = import ./modules;
      packages = each (system: {
        inherit (images.${system}) web;
      });
      # The configuration's assertions hold, and its system can be named; this builds nothing.
      checks = each (system: {
        web = nixpkgs.legacyPackages.${system}.writeText "web" (
          builtins.unsafeDiscardStringContext images.${system}.web.drvPath
        );
      });
    };
}
