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
#   architecture  `x86_64`, or `arm64`, whose parts are fetched by `fetch-kernel FOLDER arm64`. An image for arm64 is
#             put together on x86-64 all the same, and opens no secrets: there is no sops for it here.
#   parts     the folder that ./fetch-kernel filled, as a path or the text of an absolute one.
#   secrets   a file that sops sealed, likewise. The machine opens it at boot, or serves nothing, and then answers
#             `/secret` with a keyed hash of the secret `demo`. Without it, nothing of this is in the image.
#   sops      the folder with the static program `sops`, for an image with secrets, likewise.
#   keyService  the program that ../key-service/build makes, likewise. With it, an image with secrets is attested: KMS
#             is asked with a document of the machine's NitroTPM. What is outside the measured executable is checked
#             against a hash in its command line, before anything of it runs.
{
  version ? "1",
  architecture ? "x86_64",
  parts ? ../../.work/kernel,
  secrets ? null,
  sops ? ../../.work/sops,
  keyService ? null,
}:

let
  folder = /. + toString parts;

  checkedVersion =
    if builtins.match "[A-Za-z0-9._-]{1,32}" version != null then
      version
    else
      throw "demo image: version ${builtins.toJSON version} must be 1 to 32 of the characters A-Z a-z 0-9 . _ -";

  checkedArchitecture =
    if architecture != "x86_64" && architecture != "arm64" then
      throw "demo image: architecture ${builtins.toJSON architecture} must be x86_64 or arm64"
    else if architecture == "arm64" && secrets != null then
      throw "demo image: for arm64 there is no sops here: do without secrets"
    else
      architecture;

  # EC2's name of the architecture, and the file that the parts for it have.
  stub = if checkedArchitecture == "arm64" then "linuxaa64.efi.stub" else "linuxx64.efi.stub";

  checkedParts =
    if builtins.pathExists (folder + "/packages") && !builtins.pathExists (folder + "/${stub}") then
      throw "demo image: the kernel in ${toString folder} is not for ${architecture}: run nix/demo/fetch-kernel ANOTHER-FOLDER ${architecture}"
    else if builtins.pathExists (folder + "/packages") then
      builtins.path {
        path = folder;
        name = "fleetswap-demo-parts";
        # What only an image with secrets has must not change the others.
        filter = path: _: path != toString (folder + "/secrets");
      }
    else
      throw "demo image: no kernel in ${toString folder}: run nix/demo/fetch-kernel ${toString folder}";

  # What an image with secrets has besides.
  sealed = /. + toString secrets;
  sopsFolder = /. + toString sops;
  opener =
    if !builtins.pathExists sealed then
      throw "demo image: there is no sealed file ${toString sealed}"
    else if builtins.length (builtins.split "ENC\\[AES256_GCM," (builtins.readFile sealed)) == 1 then
      # Seen before it is copied into the store, where everyone can read it.
      throw "demo image: ${toString sealed} is not sealed: sops has encrypted nothing in it"
    else if !builtins.pathExists (folder + "/secrets/packages") then
      throw "demo image: no modules to open secrets in ${toString folder}: run nix/demo/fetch-kernel ${toString folder}"
    else if !builtins.pathExists (sopsFolder + "/packages") then
      throw "demo image: no sops in ${toString sopsFolder}: run tools/setup"
    else
      {
        open = ./open;
        keyedHash = ./keyed-hash;
        openSecrets = ../secrets/open-secrets;
        trusted = builtins.path {
          path = folder + "/secrets";
          name = "fleetswap-demo-trusted";
        };
        sops = builtins.path {
          path = sopsFolder + "/sops";
          name = "sops";
        };
        sealed = builtins.path {
          path = sealed;
          name = "sealed.yaml";
        };
      }
      // (
        if keyService == null then
          { }
        else
          {
            keyService = builtins.path {
              path = /. + toString keyService;
              name = "fleetswap-key-service";
            };
          }
      );

  lists = [
    (checkedParts + "/packages")
  ]
  ++ (
    if secrets == null then
      [ ]
    else
      [
        (opener.trusted + "/packages")
        (sopsFolder + "/packages")
      ]
  );

  lines = builtins.filter (line: builtins.isString line && line != "") (
    builtins.split "\n" (builtins.concatStringsSep "" (map builtins.readFile lists))
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
derivation (
  {
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
    architecture = checkedArchitecture;
    parts = checkedParts;
    init = ./init;
    dhcp = ./dhcp;
    bad = ./bad;
    manifest = builtins.concatStringsSep "" (
      map (name: "${name} ${packages.${name}}\n") (builtins.attrNames packages)
    );
  }
  // (if secrets == null then { } else opener)
)
// {
  inherit packages;
}
# Nix builds it on x86-64, whatever it is for; so the image says it.
// (if architecture == "arm64" then { registerImage.Architecture = "arm64"; } else { })
