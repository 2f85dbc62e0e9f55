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

  # sops writes a key and its value on one line, in YAML and in JSON, and its metadata last or below `sops`.
  text = builtins.readFile cfg.file;
  # systemd loads no larger credential (CREDENTIAL_SIZE_MAX).
  isSmall = builtins.stringLength text <= 1048576;
  lines = lib.optionals isSmall (builtins.filter builtins.isString (builtins.split "\n" text));
  # Nix's regular expressions overflow the stack with a long line.
  start = builtins.substring 0 512;
  isJson = start text != "" && builtins.match "[[:space:]]*[{].*" (start text) != null;
  indent =
    if isJson && builtins.length lines > 1 then
      builtins.head (builtins.match "([[:space:]]*).*" (start (builtins.elemAt lines 1)))
    else
      "";
  metadata = indent + (if isJson then "\"sops\": {" else "sops:");
  isBelow = line: lib.hasPrefix "${indent} " line || lib.hasPrefix "${indent}\t" line;
  key = ''("([^"\\]|\\.)*"|('[^']*')+|[^]"'#:,{}[:space:]-][^:]*):'';
  isSealedLine = line: builtins.match ''[[:space:]]*(- )*(${key} )?["#]?ENC\[AES256_GCM,.*'' (start line) != null;
  isEmptyLine =
    line:
    builtins.stringLength line <= 512
    && builtins.match ''[[:space:]]*(---|[]}]*,?|(- )*(${key})? ?(""|null|[[{]?|\[]|[{]}),?)[[:space:]]*'' line != null;
  plainLines =
    (builtins.foldl' (
      state: line:
      let
        number = state.number + 1;
        isMetadata = state.isMetadata && isBelow line || line == metadata;
        found = state.found ++ lib.optional (!isMetadata && !isSealedLine line && !isEmptyLine line) number;
      in
      # Else the last line would evaluate all before it in one go, and overflow the stack.
      builtins.seq number (
        builtins.seq isMetadata (
          builtins.seq found {
            inherit number isMetadata found;
          }
        )
      )
    ) { number = 0; isMetadata = false; found = [ ]; } lines).found;
  linesOf =
    name:
    let
      escaped = builtins.replaceStrings [ "." ] [ "[.]" ] name;
    in
    lib.filter (
      line: builtins.match ''(${escaped}|[[:space:]]*"${escaped}"): "?ENC\[AES256_GCM,.*'' (start line) != null
    ) lines;
  # Of a path itself and not of its copy in the store, which a file that is not sealed must not get.
  isThere = builtins.isPath cfg.file || lib.hasPrefix builtins.storeDir (toString cfg.file);
  names = lib.attrNames cfg.names;
  badNames = lib.filter (name: builtins.match "[A-Za-z0-9_][A-Za-z0-9_.-]*" name == null) names;
  goodNames = lib.filter (name: !(lib.elem name badNames)) names;
  unsealed = lib.filter (name: linesOf name == [ ]) goodNames;
  end = line: builtins.substring (builtins.stringLength line - 32) 32 line;
  isNumber =
    line: builtins.stringLength line > 32 && builtins.match ".*,type:(int|float|bool|time)].*" (end line) != null;
  numbers = lib.filter (name: lib.any isNumber (linesOf name)) goodNames;
  withEnd = lib.filter (name: builtins.match ".*[.]service" name != null) (
    lib.concatMap (secret: secret.services) (lib.attrValues cfg.names)
  );
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
        message = "The names of secrets have letters, digits, `_`, `.` and `-` and do not start with `.` or `-`: not ${toString badNames}.";
      }
      {
        assertion = isThere;
        message = "`fleetswap.secrets.file` is a path in your configuration, such as `./secrets/prod.yaml`, not the text ${toString cfg.file}.";
      }
      {
        assertion = isSmall;
        message = "${toString cfg.file} is larger than 1 MiB, which systemd does not load: take what is large out of it.";
      }
      {
        assertion = plainLines == [ ];
        message = ''
          ${toString cfg.file} is not sealed in line ${toString plainLines}, and everyone on this computer can read what is in
          Nix's store. Seal it: `fleetswap secrets encrypt` if all of it is in plaintext; else take these lines out, and
          add them with `fleetswap secrets edit`.'';
      }
      {
        assertion = withEnd == [ ];
        message = "Name services without `.service` in `fleetswap.secrets.names.<name>.services`: not ${toString withEnd}.";
      }
      {
        assertion = !isSmall || unsealed == [ ];
        message = ''
          ${toString cfg.file} has no sealed value for ${toString unsealed}, at its top level and on one line as sops
          writes it. Add it (`fleetswap secrets edit`), or seal the file (`fleetswap secrets encrypt`).'';
      }
      {
        assertion = numbers == [ ];
        message = ''
          ${toString cfg.file} has a number, a date or a truth value as ${toString numbers}, and a secret is text: put quotes
          around it (`fleetswap secrets edit`).'';
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
