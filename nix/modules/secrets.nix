# Secrets that are sealed in the image and opened at boot, in memory, with KMS and the role of the machine.
# docs/how-to/nixos-image.md has the guide; ../secrets/units.nix the unit.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.fleetswap.secrets;
  on = cfg.file != null;

  # sops writes a key and its value on one line, in YAML and in JSON.
  text = builtins.readFile cfg.file;
  isSealed =
    name:
    lib.hasInfix "\n${name}: ENC[AES256_GCM," "\n${text}" || lib.hasInfix "\"${name}\": \"ENC[AES256_GCM," text;
  # Of a path itself and not of its copy in the store, which a file that is not sealed must not get.
  isThere = builtins.isPath cfg.file || lib.hasPrefix builtins.storeDir (toString cfg.file);
  names = lib.attrNames cfg.names;
  badNames = lib.filter (name: builtins.match "[A-Za-z0-9_-][A-Za-z0-9_.-]*" name == null) names;
  unsealed = lib.filter (name: !isSealed name) names;
  writesBack = config.zramSwap.enable && config.zramSwap.writebackDevice != null;
in
{
  options.fleetswap.secrets = {
    file = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = lib.literalExpression "./secrets/prod.yaml";
      description = ''
        The sealed file, as sops has encrypted it with the key of the stack (`fleetswap secrets init`). It is in the image
        as it is, sealed. Unset: no secrets.
      '';
    };
    names = mkOption {
      type = types.attrsOf (
        types.submodule {
          options = {
            services = mkOption {
              type = types.listOf types.str;
              default = [ ];
              example = [ "web" ];
              description = ''
                Services that start only when the secrets are there, and get this one as a systemd credential: the file
                `$CREDENTIALS_DIRECTORY/NAME`, which no other service can read.
              '';
            };
            owner = mkOption {
              type = types.strMatching "[A-Za-z0-9_][A-Za-z0-9_.-]*";
              default = "root";
              description = "User that the file in `/run/fleetswap-secrets` belongs to. A credential needs none.";
            };
            group = mkOption {
              type = types.strMatching "[A-Za-z0-9_][A-Za-z0-9_.-]*";
              default = "root";
              description = "Group that the file belongs to.";
            };
            mode = mkOption {
              type = types.strMatching "0?[0-7]{3}";
              default = "0400";
              description = "Mode of the file, in octal.";
            };
          };
        }
      );
      default = { };
      defaultText = lib.literalExpression "{ }";
      example = {
        database-password.services = [ "web" ];
      };
      description = ''
        The secrets that the machine opens, each a key at the top of the sealed file with a string as its value. Each is a
        file of this name in `/run/fleetswap-secrets`, in memory.
      '';
    };
    deadline = mkOption {
      type = types.ints.between 10 3600;
      default = 120;
      description = ''
        Seconds after which a machine gives up that cannot open its secrets: what needs them does not start, and the
        machine never becomes healthy. Until then it tries again.
      '';
    };
    package = mkOption {
      type = types.package;
      default = pkgs.sops;
      defaultText = lib.literalExpression "pkgs.sops";
      description = "sops, 3.9 or later.";
    };
    attested = lib.mkEnableOption ''
      attestation: KMS releases the data key only to a machine whose NitroTPM has measured this image. The setting
      `fleetswap:secrets.attested` puts the measurements into the key policy
    '';
    keyService = mkOption {
      type = types.package;
      default = pkgs.callPackage ../key-service/package.nix { };
      defaultText = lib.literalMD "Fleetswap's own";
      description = ''
        With `attested`, what asks KMS for the data key with the attestation document of the NitroTPM: a package with the
        program `bin/fleetswap-key-service`.
      '';
    };
  };

  config = lib.mkIf on {
    assertions = [
      {
        assertion = names != [ ];
        message = "`fleetswap.secrets.file` is sealed in vain: name the secrets that the machine opens in `fleetswap.secrets.names`.";
      }
      {
        assertion = badNames == [ ];
        message = "The names of secrets have letters, digits, `_`, `.` and `-` and do not start with `.`: not ${toString badNames}.";
      }
      {
        assertion = isThere;
        message = "`fleetswap.secrets.file` is a path in your configuration, such as `./secrets/prod.yaml`, not the text ${toString cfg.file}.";
      }
      {
        assertion = unsealed == [ ];
        message = ''
          ${toString cfg.file} has no sealed value for ${toString unsealed}, at its top level and on one line as sops
          writes it. Add it (`fleetswap secrets edit`), or seal the file (`fleetswap secrets encrypt`).'';
      }
      {
        assertion = config.swapDevices == [ ] && !writesBack;
        message = ''
          An image with secrets has no swap on a device (`swapDevices`, `zramSwap.writebackDevice`): secrets in memory could
          be written there. `zramSwap.enable` alone stays in memory.'';
      }
      {
        assertion = !cfg.attested || config.fleetswap.image.verity.enable;
        message = ''
          `fleetswap.secrets.attested` needs `fleetswap.image.verity.enable`: without it, what the NitroTPM measures says
          nothing of the store.'';
      }
    ];

    systemd.services = import ../secrets/units.nix {
      inherit (cfg) deadline names;
      default = lib.mkDefault;
      shell = pkgs.runtimeShell;
      path = [
        pkgs.coreutils
        pkgs.gnugrep
        pkgs.gnused
      ];
      sops = "${cfg.package}/bin/sops";
      jq = "${pkgs.jq}/bin/jq";
      sealed = "${cfg.file}";
      keyService = if cfg.attested then "${cfg.keyService}/bin/fleetswap-key-service" else null;
      authorities = [ "/etc/ssl/certs/ca-certificates.crt" ];
    };
    fleetswap.image = {
      packages = [
        cfg.package
        pkgs.jq
      ];
      registerImage = lib.mkIf cfg.attested { TpmSupport = "v2.0"; };
    };
  };
}
