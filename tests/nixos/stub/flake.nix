{
  # What our flake uses of nixpkgs.
  outputs =
    _:
    let
      lib = import ./lib;
    in
    {
      lib = lib // {
        nixosSystem = import ./nixos/lib/eval-config.nix;
      };
      legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (system: import ./pkgs.nix { inherit system; });
    };
}
