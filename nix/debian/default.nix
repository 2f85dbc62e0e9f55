# A stand-in for NixOS where there is no nixpkgs: a machine whose packages are Debian's and whose init is systemd, laid
# out by ../image just as a NixOS machine is.
#
# What is alike: each package is a store path, with the store paths of its libraries written into its programs; Nix
# finds the references between them; units, /etc and the system as a whole (`toplevel`) are store paths, too. What is
# not: nothing of it comes from NixOS's modules, and the tools that put it together are the host's, so it needs
# `sandbox = false`. ../README.md says what to do where there is nixpkgs.
#
#   version   what `/` answers. Of the machine, only its application changes with it.
#   parts     the folder that ./fetch-parts filled, as a path or the text of an absolute one.
#   secrets   a file that sops sealed, likewise, with a secret `demo`. The machine opens it with the unit of NixOS's
#             module, and answers `/secret` with a keyed hash of it. Without the file, nothing of this is in the image.
#   sops      the folder with the static program `sops`, for a machine with secrets, likewise.
#   keyService  the program that ../key-service/build makes, likewise. With it, the unit asks KMS with a document of the
#             machine's NitroTPM. The store is not measured here, as it is on NixOS with dm-verity.
{
  version ? "1",
  parts ? ../../.work/debian,
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
      throw "Debian machine: version ${builtins.toJSON version} must be 1 to 32 of the characters A-Z a-z 0-9 . _ -";

  index =
    if builtins.pathExists (folder + "/index") then
      builtins.readFile (folder + "/index")
    else
      throw "Debian machine: no packages in ${toString folder}: run nix/debian/fetch-parts ${toString folder}";

  split = separator: text: builtins.filter (each: each != "" && !builtins.isList each) (builtins.split separator text);

  # The epoch says nothing of what is inside, and a store path may not have a tilde.
  plain =
    version: builtins.replaceStrings [ "~" ] [ "_" ] (builtins.elemAt (builtins.match "([0-9]+:)?(.*)" version) 1);

  # Of each package that was fetched: its version, the packages that it needs, and its files.
  debian = builtins.listToAttrs (
    map (
      line:
      let
        words = split " " line;
        name = builtins.head words;
      in
      {
        inherit name;
        value = {
          version = plain (builtins.elemAt words 1);
          needs = builtins.tail (builtins.tail words);
          files = builtins.path {
            path = folder + "/${name}";
            name = "debian-${name}";
          };
        };
      }
    ) (split "\n" index)
  );

  system = "x86_64-linux";

  # What every derivation here has: a shell of the host's that runs a script, with the host's tools.
  made =
    script: attributes:
    derivation (
      {
        inherit system;
        builder = "/bin/sh";
        args = [
          "-eu"
          script
        ];
        PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
        LC_ALL = "C";
        TZ = "UTC";
        name = "${attributes.pname}-${attributes.version}";
      }
      // attributes
    );

  # A package of Debian's as a store path.
  packages = builtins.mapAttrs (
    name: package:
    made ./package.sh {
      pname = name;
      inherit (package) version files;
      needs = map (need: packages.${need}) package.needs;
      patchelf = debian.patchelf.files;
    }
  ) debian;

  inherit (packages) systemd busybox-static;

  hasSecrets = secrets != null;
  onlyForSecrets = [
    "ca-certificates"
    "jq"
    "libjq1"
    "libonig5"
  ];
  fetched =
    what: path:
    if builtins.pathExists path then
      path
    else
      throw "Debian machine: no ${what} at ${toString path}: remove ${toString folder} and run nix/debian/fetch-parts ${toString folder}";
  sealed = builtins.path {
    path = /. + toString secrets;
    name = "sealed.yaml";
  };

  kernel = made ./kernel.sh {
    pname = "linux";
    inherit (debian.linux-image-cloud-amd64) version files;
  };
  modules = made ./modules.sh {
    pname = "linux-modules";
    inherit (debian.linux-image-cloud-amd64) version;
    files =
      if hasSecrets then
        builtins.path {
          path = fetched "modules for secrets" (folder + "/secrets");
          name = "debian-secrets";
        }
      else
        debian.linux-image-cloud-amd64.files;
  };

  web = made ./web.sh {
    pname = "fleetswap-web";
    version = checkedVersion;
    busybox = busybox-static;
    program = ./web;
  };

  report = made ./boot-report.sh {
    name = "boot-report";
    inherit systemd;
    busybox = busybox-static;
    program = ./boot-report;
  };

  plainUnits = made ./units.sh {
    name = "system-units";
    inherit systemd web report;
    inherit (packages) udev;
    own = ./units;
  };
  units = if hasSecrets then secretUnits else plainUnits;

  etc = made ./etc.sh {
    name = "etc";
    inherit units systemd;
    inherit (packages) udev;
    own = if hasSecrets then secretEtc else ./etc;
  };

  # What a machine with secrets has besides: units, and names and certificates to find KMS by.
  openTools = made ./secrets/tools.sh {
    name = "open-tools";
    busybox = busybox-static;
    keyedHash = ../demo/keyed-hash;
    own = ./secrets;
  };
  secretEtc = made ./secrets/etc.sh {
    name = "etc-with-secrets";
    own = ./etc;
    certificates = builtins.path {
      path = fetched "certificates" (folder + "/secrets/ca-certificates.crt");
      name = "ca-certificates.crt";
    };
  };
  sopsProgram = builtins.path {
    path = fetched "sops" ((/. + toString sops) + "/sops");
    name = "sops";
  };
  keyServiceProgram = builtins.path {
    path = fetched "key service" (/. + toString keyService);
    name = "fleetswap-key-service";
  };
  secretServices = import ../secrets/units.nix {
    shell = "${busybox-static}/bin/busybox sh";
    path = [ openTools ];
    sops = sopsProgram;
    jq = "${packages.jq}/bin/jq";
    inherit sealed;
    deadline = 120;
    authorities = [ "/etc/ssl/certs/ca-certificates.crt" ];
    keyService = if keyService == null then null else keyServiceProgram;
    names.demo = {
      owner = "root";
      group = "web";
      mode = "0440";
      services = [ "web" ];
    };
  };
  secretUnits = made ./secrets/units.sh {
    name = "system-units";
    inherit systemd openTools;
    units = plainUnits;
    opens = asUnit secretServices.fleetswap-secrets;
    ofWeb = asUnit secretServices.web;
    own = ./secrets/units;
  };

  # A unit of NixOS's `systemd.services` as a unit file.
  asUnit =
    service:
    let
      # What systemd reads as a word or a number, `true` is 1.
      line = name: value: map (each: "${name}=${toString each}\n") (if builtins.isList value then value else [ value ]);
      section =
        name: values:
        "[${name}]\n"
        + builtins.concatStringsSep "" (
          builtins.concatLists (map (each: line each values.${each}) (builtins.attrNames values))
        );
    in
    section "Unit" {
      Description = service.description or [ ];
      Wants = service.wants or [ ];
      Requires = service.requires;
      After = service.after;
    }
    + section "Service" (
      service.serviceConfig
      // {
        Environment = map (each: "PATH=${each}/bin") (service.path or [ ]);
      }
    );

  toplevel = made ./toplevel.sh {
    name = "debian-system-${debian.systemd.version}";
    inherit
      kernel
      modules
      systemd
      etc
      ;
    inherit (packages) kmod;
    busybox = busybox-static;
    init = ./init;
  };

  initrd = made ./initrd.sh {
    name = "initrd";
    inherit modules;
    busybox = busybox-static;
    program = ./initrd;
  };

  # In the names of EC2's RegisterImage.
  registerImage = {
    Architecture = "x86_64";
    BootMode = "uefi";
    RootDeviceName = "/dev/xvda";
    EnaSupport = true;
    ImdsSupport = "v2.0";
  };
in
derivation {
  name = "fleetswap-debian-${checkedVersion}";
  inherit system;
  builder = "/bin/bash";
  args = [
    "-eu"
    ./image.sh
  ];
  # The closure of the system as Nix knows it, in the file of the attributes.
  __structuredAttrs = true;
  exportReferencesGraph.closure = [ toplevel ];

  inherit toplevel initrd;
  kernel = "${kernel}/bzImage";
  # console: EC2's serial console, and QEMU's. panic=0: a machine that panics stays and shows why, as most AMIs do. The
  # next five are as in ../demo.
  cmdline = "console=ttyS0 quiet panic=0 tsc=reliable no_timer_check noreplace-smp cryptomgr.notests initcall_blacklist=init_kprobe_trace net.ifnames=0 init=${toplevel}/init";
  osRelease = ./etc/os-release;
  layout = builtins.path {
    path = ../image;
    name = "fleetswap-image-builder";
    filter = path: _: baseNameOf path != "__pycache__";
  };
  # Room for what a change of packages may add: a size that stays moves nothing.
  storeSize = if hasSecrets then "256M" else "128M";
  espSize = "64M";
  tools = builtins.path {
    path = folder + "/tools";
    name = "debian13-tools";
  };
}
// {
  inherit registerImage;
  # Name to version, for the changes in a preview. Evaluates without a build.
  packages =
    builtins.mapAttrs (_: package: package.version) (
      builtins.removeAttrs debian ([ "patchelf" ] ++ (if hasSecrets then [ ] else onlyForSecrets))
    )
    // {
      fleetswap-web = checkedVersion;
    };
}
