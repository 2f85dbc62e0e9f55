# The demo image: a UEFI disk with Debian's cloud kernel and a busybox userland that answers HTTP on port 8080.
#
# What it is made of (kernel, busybox, EFI stub, scripts, version) are inputs in the sense of Nix: change one and the
# store path changes. The tools that put it together (sh, cpio, objcopy, sgdisk, mtools) are the host's, because no
# nixpkgs can be had where this must build; so it needs `sandbox = false`. ../README.md says what to do
# where there is nixpkgs.
#
#   version   what `/` answers. Some have a meaning: `broken` serves but fails its health check, `panic` never boots,
#             `flaky` fails, `slow` takes 2 s, `dropping` closes most connections without an answer and `hanging`
#             never answers, but only for users: the health check and the probe are answered well. `spy` tells what
#             the machine can reach.
#   parts     the folder that ./fetch-kernel filled, as a path or the text of an absolute one.
{
  version ? "1",
  parts ? ../../.work/kernel,
}:

let
  folder = /. + toString parts;

  checkedVersion =
    if builtins.match "[A-Za-z0-9._-]{1,32}" version != null then
      version
    else
      throw "demo image: version ${builtins.toJSON version} must be 1 to 32 of the characters A-Z a-z 0-9 . _ -";

  checkedParts =
    if builtins.pathExists (folder + "/packages") then
      builtins.path {
        path = folder;
        name = "fleetswap-demo-parts";
      }
    else
      throw "demo image: no kernel in ${toString folder}: run nix/demo/fetch-kernel ${toString folder}";

  lines = builtins.filter (line: builtins.isString line && line != "") (
    builtins.split "\n" (builtins.readFile (checkedParts + "/packages"))
  );

  package =
    line:
    let
      words = builtins.match "([^ ]+) (.+)" line;
    in
    {
      name = builtins.elemAt words 0;
      value = builtins.elemAt words 1;
    };

  # Name to version, for the package-level changes in a preview. Evaluates without a build.
  packages = builtins.listToAttrs (map package lines) // {
    fleetswap-demo = checkedVersion;
  };
in
derivation {
  name = "fleetswap-demo-${checkedVersion}";
  system = "x86_64-linux";
  builder = "/bin/sh";
  args = [
    "-eu"
    ./build.sh
  ];

  PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
  LC_ALL = "C";
  # 2025-01-01: later than 1980, where FAT begins. mtools takes its times from here.
  SOURCE_DATE_EPOCH = "1735689600";
  TZ = "UTC";

  version = checkedVersion;
  parts = checkedParts;
  init = ./init;
  dhcp = ./dhcp;
  bad = ./bad;
  manifest = builtins.concatStringsSep "" (map (name: "${name} ${packages.${name}}\n") (builtins.attrNames packages));
}
// {
  inherit packages;
}
