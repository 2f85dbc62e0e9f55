# A NixOS machine in miniature, as nixpkgs makes one: the same attributes of the same names lead from an image to its
# packages (nixos/modules/system/activation/top-level.nix, nixos/lib/systemd-lib.nix, nixos/modules/system/etc/etc.nix,
# pkgs/build-support/{buildenv,closure-info.nix,trivial-builders}), with the tools that their scripts run
# (bootspec.nix, etc.nix) and the attributes that name compilers. Nothing in it can be built.
{
  openssl ? "3.6.0",
  glibcPatch ? "1",
  kernel ? "6.12.58",
  web ? "1.4.1",
  webSource ? "one",
  environment ? "PORT=8080",
  extra ? "",
  many ? "0",
  worker ? "yes",
  gcc ? "14.3.0",
  kernelConfig ? "EROFS_FS m",
  parameters ? "panic=10",
  label ? "25.11.20251101",
}:

let
  system = "x86_64-linux";

  fetchurl =
    name: hash:
    derivation {
      inherit name system;
      builder = "builtin:fetchurl";
      url = "https://example.com/${name}";
      outputHashMode = "flat";
      outputHashAlgo = "sha256";
      outputHash = builtins.hashString "sha256" hash;
    };

  bootstrap = derivation {
    name = "bootstrap-tools";
    inherit system;
    builder = "/bin/sh";
  };
  compiler = derivation {
    name = "gcc-wrapper-${gcc}";
    inherit system;
    builder = "/bin/sh";
    tools = "${bootstrap}";
  };
  stdenv = derivation {
    name = "stdenv-linux";
    inherit system;
    builder = "/bin/sh";
    initialPath = "${compiler}";
  };

  # stdenv.mkDerivation
  make =
    attributes:
    derivation (
      {
        name = "${attributes.pname}-${attributes.version}";
        inherit system stdenv;
        builder = "${bootstrap}/bin/bash";
        args = [
          "-e"
          (builtins.toFile "source-stdenv.sh" "source $stdenv/setup")
        ];
        nativeBuildInputs = "${compiler}";
      }
      // attributes
    );
  package = pname: version: attributes: make ({ inherit pname version; } // attributes);

  # runCommand, writeText
  command =
    name: attributes: buildCommand:
    make (
      attributes
      // {
        inherit name buildCommand;
        passAsFile = "buildCommand";
      }
    );
  text = name: text: command name { inherit text; } "mv \"$textPath\" \"$out\"";

  # What no machine has: each is named where an output could refer to it.
  perl = package "perl" "5.42.0" { };
  binutils = package "binutils" "2.44" { };
  nuke = command "nuke-references" { } "substitute nuke-refs.sh $out --subst-var-by perl ${perl}";
  hook = command "find-xml-catalogs-hook" { } "cp ${perl}/hook $out/nix-support/setup-hook";
  earlyGlibc = package "bootstrap-stage0-glibc" "bootstrapFiles" { };
  headers = package "linux-headers" "6.16.7" { };

  glibc = package "glibc" "2.40-66" {
    outputs = [ "out" "bin" "dev" ];
    src = fetchurl "glibc-2.40.tar.xz" "glibc";
    makeFlags = "OBJDUMP=${binutils}/bin/objdump BUILD_LDFLAGS=-Wl,-rpath,${earlyGlibc}/lib CC=${compiler}/bin/cc";
    linuxHeaders = "${headers}";
    patches = "${builtins.toFile "fix-${glibcPatch}.patch" glibcPatch}";
  };
  openssl' = package "openssl" openssl {
    outputs = [ "bin" "dev" "out" "man" ];
    src = fetchurl "openssl-${openssl}.tar.gz" openssl;
    buildInputs = "${glibc.dev}";
    configureFlags = "--prefix=${builtins.placeholder "bin"}";
  };
  curl = package "curl" "8.17.0" {
    src = fetchurl "curl-8.17.0.tar.xz" "curl";
    buildInputs = "${openssl'.dev} ${glibc.dev}";
    nativeCheckInputs = "${package "pytest" "9.0.1" { }}";
    propagatedBuildInputs = "${hook}";
  };
  bash = package "bash-interactive" "5.3p3" {
    buildInputs = "${glibc.dev}";
    postInstall = "substituteInPlace $out/config --replace-fail \"${binutils}/bin\" /no-such-path";
    postFixup = "${nuke}/bin/nuke-refs $out/lib/*; ${compiler}/bin/strip $out";
    disallowedReferences = "${compiler}";
  };
  linux = package "linux" kernel {
    outputs = [ "out" "dev" "modules" ];
    src = fetchurl "linux-${kernel}.tar.xz" kernel;
    # In its text, quotes, backslashes, newlines and tabs, and the parentheses of an ATerm.
    postPatch = "echo \"(\\\"[\" | sed 's,\\t,\t,'\n";
    configfile = "${package "linux-config" kernel {
      inherit kernelConfig;
      buildInputs = "${package "gmp" "6.3.0" { }}";
    }}";
  };
  ena = make {
    name = "ena-2.15.0-${kernel}";
    version = "2.15.0-${kernel}";
    kernel = "${linux.dev}";
  };
  firmware = package "linux-firmware" "20251111" { };
  app = package "web" web {
    src = "${builtins.toFile "source" webSource}";
    buildInputs = "${openssl'.dev}";
    bash = "${bash}";
  };

  unit = name: body: command "unit-${name}" { text = body; passAsFile = "text"; } "mv \"$textPath\" \"$out/${name}\"";
  start = make {
    name = "unit-script-web-start";
    text = "#!${bash}/bin/bash\nexec ${app}/bin/web\n";
    checkPhase = "${package "shellcheck" "0.11.0" { }}/bin/shellcheck $target";
  };
  units = [
    (unit "web.service" (
      "[Service]\nEnvironment=PATH=${curl}/bin\nEnvironment=${environment}\n" + "ExecStart=${start}/bin/web-start\n"
    ))
    (unit "getty-.service" "[Service]\nExecStart=${bash}/bin/bash\n")
  ]
  ++ (if worker == "yes" then [ (unit "worker.service" "[Service]\nExecStart=${app}/bin/worker\n") ] else [ ])
  ++ (
    if worker == "off" then
      [ (command "unit-worker.service-disabled" { } "ln -s /dev/null $out/worker.service") ]
    else
      [ ]
  );
  lndir = package "lndir" "1.0.5" { };
  systemUnits = command "system-units" { } ''
    for i in ${toString units}; do ln -s $i/* $out; done
    ${lndir}/bin/lndir "$fn" "$targetDir"
  '';

  # buildEnv, which has structured attributes
  path = make {
    name = "system-path";
    __structuredAttrs = true;
    chosenOutputs = map (paths: { inherit paths; priority = 5; }) (
      [ [ "${curl}" "${glibc.bin}" ] [ "${bash}" ] ]
      ++ (if extra == "" then [ ] else [ [ "${package "jq" extra { }}" ] ])
      ++ builtins.genList (number: [ "${package "more${toString number}" "1.0" { }}" ]) (builtins.fromJSON many)
    );
    pathsToLink = [ "/bin" ];
    buildCommand = "${perl}/bin/perl -w builder.pl";
  };
  etc = command "etc" { } ''
    makeEtcEntry ${text "etc-hostname" "web"} hostname symlink
    makeEtcEntry ${systemUnits} systemd/system symlink
  '';

  metadata = command "etc-metadata.erofs" { } "mkcomposefs --from-file ${
    command "etc-dump" { } "${package "python3" "3.13.9" { }}/bin/python3.13 build.py ${
      text "etc-json" (builtins.toJSON [ "${systemUnits}" ])
    } > $out"
  } $out";
  initrd = command "initrd-linux-${kernel}" {
    contents = "${command "linux-${kernel}-modules-shrunk" { kernel = "${linux.modules}"; } "true"}";
  } "true";
  # The bootspec's own, which is not the package of that name in the system's path.
  specJq = package "jq" "1.8.1" { };

  toplevel = command "nixos-system-web-${label}" {
    nixosLabel = label;
    systemd = "${package "systemd" "258.2" { buildInputs = "${glibc.dev}"; }}";
    perl = "${perl}";
    passedChecks = "${command "check-config" { } "true"}";
  } ''
    ln -s ${linux}/bzImage $out/kernel
    ln -s ${command "kernel-modules" { } "ln -s ${linux.modules} ${ena} $out"} $out/kernel-modules
    ln -s ${firmware}/lib/firmware $out/firmware
    ln -s ${initrd}/initrd $out/initrd
    ln -s ${etc}/etc $out/etc
    ln -s ${metadata} $out/etc-metadata-image
    ln -s ${path} $out/sw
    ${specJq}/bin/jq . < ${text "boot.json" parameters} | ${specJq}/bin/jq . > $out/boot.json
  '';

  closureInfo = make {
    name = "closure-info";
    __structuredAttrs = true;
    exportReferencesGraph.closure = [ "${toplevel}" ];
  };
in
command "fleetswap-web" { nativeBuildInputs = "${package "erofs-utils" "1.8.10" { }}"; } ''
  lay-out ${closureInfo}/store-paths
''
