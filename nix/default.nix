# The same as the flake, without flakes:
#
#     nix-build nix --attr web --argstr nixpkgs /path/to/nixpkgs
{
  nixpkgs ? <nixpkgs>,
  system ? builtins.currentSystem,
}:
let
  modules = import ./modules;
  image =
    configuration:
    (import "${toString nixpkgs}/nixos/lib/eval-config.nix" {
      inherit system;
      modules = [
        modules.default
        modules.web
        configuration
      ];
    }).config.system.build.fleetswapImage;
in
{
  web = image ./example/server.nix;
}
