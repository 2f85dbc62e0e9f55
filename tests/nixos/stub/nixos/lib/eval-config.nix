# A NixOS configuration: the options of ../../options.json as they are in a release, and a system of a few files.
{
  system ? builtins.currentSystem,
  modules,
  release ? "25.11",
  # Modules of nixpkgs that a configuration imports itself, by the name of their file.
  imported ? [ ],
}:
let
  lib = import ../../lib;
  pkgs = import ../../pkgs.nix { inherit system; };
  fixture = builtins.fromJSON (builtins.readFile ../../options.json);

  typeOf =
    type:
    if builtins.isString type then
      lib.types.${type}
    else
      let
        kind = builtins.head type;
        rest = builtins.tail type;
      in
      if kind == "enum" then
        lib.types.enum rest
      else if kind == "oneOf" then
        lib.types.oneOf (map typeOf rest)
      else if kind == "submodule" then
        lib.types.submodule ({ name, ... }: { options = lib.mapAttrs (_: optionOf name) (builtins.head rest); })
      else
        lib.types.${kind} (typeOf (builtins.head rest));

  optionOf =
    name: entry:
    lib.mkOption (
      {
        type = typeOf entry.type;
      }
      // lib.optionalAttrs (entry ? default) { default = if entry.default == "@name" then name else entry.default; }
    );

  isThere =
    entry:
    entry.since or "" <= release
    && release <= entry.until or "99.99"
    && (!(entry ? importedBy) || lib.elem entry.importedBy imported);

  pathOf = name: lib.filter lib.isString (builtins.split "\\." name);
  nested = path: value: if path == [ ] then value else { ${builtins.head path} = nested (builtins.tail path) value; };

  # One module an option, so that none hides another.
  declared = lib.mapAttrsToList (name: entry: {
    _file = entry.source;
    options = nested (pathOf name) (optionOf name entry);
  }) (lib.filterAttrs (_: isThere) fixture);

  # What NixOS sets itself.
  base =
    { config, ... }:
    let
      failed = lib.filter (one: !one.assertion) config.assertions;
      uki = config.boot.uki.settings.UKI;
    in
    {
      _file = "nixos/modules/system/activation/top-level.nix";
      config = {
        boot.kernelPackages = lib.mkDefault pkgs.linuxPackages;
        boot.kernelParams = [
          "root=fstab"
          "loglevel=4"
        ];
        boot.uki.settings.UKI = {
          Linux = lib.mkDefault "${pkgs.linuxPackages.kernel}/program";
          Initrd = lib.mkDefault "${pkgs.initrd}/program";
          Cmdline = lib.mkDefault "init=${config.system.build.toplevel}/init ${toString config.boot.kernelParams}";
          Stub = lib.mkDefault "/usr/lib/systemd/boot/efi/linux${pkgs.stdenv.hostPlatform.efiArch}.efi.stub";
          Uname = lib.mkDefault pkgs.linuxPackages.kernel.version;
          EFIArch = lib.mkDefault pkgs.stdenv.hostPlatform.efiArch;
        };
        boot.uki.configFile = lib.mkDefault (
          pkgs.writeText "ukify.conf" ("[UKI]\n" + lib.concatStrings (lib.mapAttrsToList (name: value: "${name}=${value}\n") uki))
        );
        environment.systemPackages = [ pkgs.coreutils ];
        services.nginx.package = lib.mkDefault pkgs.nginx;
        systemd.package = pkgs.systemd;
        system.build.toplevel =
          if failed != [ ] then
            throw "\nFailed assertions:\n${lib.concatStringsSep "\n" (map (one: "- ${one.message}") failed)}"
          else
            pkgs.tree "nixos-system-${config.networking.hostName}-${release}" {
              init = "systemd ${pkgs.systemd}\n";
              initrd = "${pkgs.initrd}\n";
              sw = "${toString config.environment.systemPackages}\n";
              services = lib.concatStrings (
                lib.mapAttrsToList (name: service: "${name} ${toString service.path}\n") (
                  lib.filterAttrs (_: service: service.enable) config.systemd.services
                )
              );
              web =
                if config.services.nginx.enable then
                  "${config.services.nginx.package} ${builtins.toJSON config.services.nginx.virtualHosts}"
                else
                  "";
            };
      };
    };
in
lib.evalModules {
  modules = declared ++ [ base ] ++ modules;
  specialArgs = {
    inherit pkgs;
    modulesPath = toString ../modules;
  };
}
