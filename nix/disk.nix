# The disk of a system: one derivation around the builder in ./image. The tools are the build computer's, so that a disk
# for arm64 can be made by an x86-64 computer from a system that was cross-compiled.
{
  lib,
  pkgs,
  name,
  toplevel,
  ukiConfig,
  env,
  storeSize,
  espSize,
  compression,
  verity,
  registerImage,
  manifest,
}:
let
  tools = pkgs.buildPackages;
  builder = builtins.path {
    path = ./image;
    name = "fleetswap-image-builder";
    filter = path: _: baseNameOf path != "__pycache__";
  };
  options = [
    "--name"
    name
    "--system"
    pkgs.stdenv.hostPlatform.system
    "--esp-size"
    espSize
  ]
  ++ lib.optionals (storeSize != null) [
    "--store-size"
    storeSize
  ]
  ++ lib.optionals (env != null) [
    "--symlink"
    "bin/env=${env}"
  ]
  ++ lib.optionals (compression != "none") [
    "--compress"
    compression
  ]
  ++ lib.optional verity "--verity";
in
pkgs.stdenvNoCC.mkDerivation {
  inherit name;

  # Nix writes the closure of the system into the file of the attributes. The disk refers to nothing: it holds a copy of
  # it all, and would otherwise keep the system from Nix's garbage collector.
  __structuredAttrs = true;
  unsafeDiscardReferences.out = true;
  exportReferencesGraph.closure = [ toplevel ];
  inherit registerImage;
  inherit (manifest) licences;

  nativeBuildInputs = map lib.getBin [
    tools.cryptsetup
    tools.erofs-utils
    tools.mtools
    tools.python3
    tools.systemd
    tools.systemdUkify
    # Gives zeros back to the file system.
    tools.util-linux
  ];

  buildCommand = ''
    python3 - "''${NIX_ATTRS_JSON_FILE:-.attrs.json}" <<'END'
    import json, sys
    with open(sys.argv[1]) as file:
        attributes = json.load(file)
    for name in ("closure", "licences", "registerImage"):
        with open(f"{name}.json", "w") as file:
            json.dump(attributes[name], file)
    END
    python3 ${builder}/build-disk --closure closure.json --toplevel ${toplevel} --licences licences.json \
      --register registerImage.json --uki-config ${ukiConfig} ${lib.escapeShellArgs options} "$out" || {
      status=$?
      echo "(--store-size and --esp-size are the options fleetswap.image.storeSize and fleetswap.image.espSize)" >&2
      exit $status
    }
  '';

  passthru = {
    inherit registerImage;
    inherit (manifest) packages licences;
  };
}
