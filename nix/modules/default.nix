# The modules by name. `default` is what an image needs; `web` is only an example of a service.
let
  modules = {
    image = ./image.nix;
    base = ./base.nix;
    network = ./network.nix;
    checks = ./checks.nix;
    secrets = ./secrets.nix;
  };
in
modules
// {
  web = ./web.nix;
  default.imports = builtins.attrValues modules;
}
