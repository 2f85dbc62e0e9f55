# Packages of one file each. The tools of the build computer are what is on PATH: derivations are run by Debian 13's
# bash, outside of a sandbox.
{ system }:
let
  lib = import ./lib;

  # nixpkgs' builder with `__structuredAttrs` reads its attributes and runs `buildCommand`.
  run = builtins.toFile "run.sh" ''
    set -eu
    [ ! -e .attrs.sh ] || . ./.attrs.sh
    [ -z "''${NIX_ATTRS_SH_FILE-}" ] || . "$NIX_ATTRS_SH_FILE"
    export out=''${out:-''${outputs[out]}}
    eval "$buildCommand"
  '';
  mkDerivation =
    args@{
      passthru ? { },
      ...
    }:
    let
      given = removeAttrs args [
        "passthru"
        "meta"
        "pname"
        "version"
      ];
      drv = derivation (
        given
        // {
          name = args.name or "${args.pname}-${args.version}";
          inherit system;
          # Debian 13 has the programs as they are in nixpkgs; Debian 12's are older.
          builder = "/bin/bash";
          args = [
            "-c"
            "PATH=/usr/sbin:/usr/bin exec ${toString ../../../tools/debian13-run} bash ${run}"
          ];
        }
      );
    in
    drv
    // passthru
    // removeAttrs args [
      "passthru"
      "name"
    ];

  tree =
    name: files:
    mkDerivation {
      inherit name;
      buildCommand = ''
        mkdir "$out"
      ''
      + lib.concatStrings (
        lib.mapAttrsToList (file: text: "printf %s ${lib.escapeShellArg text} > \"$out/${file}\"\n") files
      );
    };
  package =
    pname: version: licence: more:
    tree "${pname}-${version}" { program = "${pname} ${version} ${toString (more.buildInputs or [ ])}\n"; }
    // {
      inherit pname version;
      meta.license = licence;
    }
    // more;

  pkgs = {
    inherit lib tree;
    stdenv.hostPlatform = {
      inherit system;
      isx86_64 = system == "x86_64-linux";
      isAarch64 = system == "aarch64-linux";
      efiArch = if system == "aarch64-linux" then "aa64" else "x64";
    };
    stdenvNoCC = { inherit mkDerivation; };
    # Those of the host, which are on PATH.
    buildPackages = lib.genAttrs [
      "cryptsetup"
      "erofs-utils"
      "mtools"
      "python3"
      "systemd"
      "systemdUkify"
      "util-linux"
    ] (name: tree name { tool = name; });

    writeText =
      name: text:
      mkDerivation {
        inherit name text;
        passAsFile = [ "text" ];
        buildCommand = "cp \"$textPath\" \"$out\"";
      };
    writeTextDir = path: text: tree "files" { ${path} = text; };

    openssl = package "openssl" "3.5.1" { spdxId = "Apache-2.0"; } { };
    zlib = package "zlib" "1.3.1" { spdxId = "Zlib"; } { };
    nginx = package "nginx" "1.28.0" [ { spdxId = "BSD-2-Clause"; } ] {
      buildInputs = [
        pkgs.openssl
        pkgs.zlib
      ];
    };
    coreutils = package "coreutils" "9.7" { spdxId = "GPL-3.0-or-later"; } { };
    gnugrep = package "gnugrep" "3.12" { spdxId = "GPL-3.0-or-later"; } { };
    gnused = package "gnused" "4.9" { spdxId = "GPL-3.0-or-later"; } { };
    jq = package "jq" "1.8.1" { spdxId = "MIT"; } { };
    sops = package "sops" "3.11.0" { spdxId = "MPL-2.0"; } { };
    # Of ours there is one, and it needs nixpkgs' builder for Go.
    callPackage = _: _: package "fleetswap-key-service" "0.1.0" { spdxId = "Apache-2.0"; } { };
    runtimeShell = "${pkgs.coreutils}/bin/bash";
    systemd = package "systemd" "257.9" [
      { spdxId = "LGPL-2.1-or-later"; }
      { spdxId = "GPL-2.0-only"; }
    ] { };
    choice = package "choice" "1" {
      operator = "OR";
      licenses = [
        { spdxId = "MIT"; }
        {
          operator = "WITH";
          license = {
            operator = "+";
            license.spdxId = "Apache-2.0";
          };
          exception.spdxId = "LLVM-exception";
        }
      ];
    } { };
    both = package "both" "1" [
      pkgs.choice.meta.license
      { spdxId = "Zlib"; }
    ] { };
    vendored = package "vendored" "1" { shortName = "unfree (redistributable)"; } { };
    initrd = package "initrd" "1" [ ] { };
    # nixpkgs' kernels say what they are built with; until June 2026 without zstd for erofs.
    linuxPackages.kernel = package "linux" "6.12.40" { spdxId = "GPL-2.0-only"; } {
      configfile.structuredConfig.EROFS_FS.tristate = "m";
    };
  };
in
pkgs
