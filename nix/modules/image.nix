# A disk that EC2 boots: an EFI system partition with one unified kernel image, and the store on a read-only partition.
# Everything else is in memory. `config.system.build.fleetswapImage` is the derivation.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  inherit (lib) mkDefault mkOption types;
  cfg = config.fleetswap.image;
  size = types.strMatching "[1-9][0-9]*[MG]";
  verity = cfg.verity.enable;
  inherit (config.boot.kernelPackages) kernel;

  # What the kernel is built with, where nixpkgs says it without a build; an own kernel may not.
  settings = kernel.configfile.structuredConfig or { EROFS_FS_ZIP_ZSTD.tristate = "y"; };
  readsZstd = settings.EROFS_FS_ZIP_ZSTD.tristate or null == "y";

  # Each boot would make /usr/bin/env anew, which ends a boot with nixos-init: it is in the image, and /usr is read-only.
  # Releases without `createUsrBinEnv` make none only if there is to be none.
  leavesEnv = options.environment ? createUsrBinEnv;
  hasNoEnv = !leavesEnv && options.system ? nixos-init && config.system.nixos-init.enable;

  roots =
    config.environment.systemPackages
    ++ config.systemd.packages
    ++ lib.concatMap (service: lib.optionals service.enable service.path) (lib.attrValues config.systemd.services)
    ++ [
      kernel
      config.systemd.package
    ]
    ++ cfg.packages;
in
{
  options.fleetswap.image = {
    name = mkOption {
      type = types.strMatching "[a-zA-Z0-9][a-zA-Z0-9_-]*";
      default = "nixos";
      example = "web";
      description = "Name of the derivation and of the disk's file. It is not the machine's host name.";
    };
    storeSize = mkOption {
      type = types.nullOr size;
      default = null;
      example = "8G";
      description = ''
        Size of the partition with the store, in MiB (`M`) or GiB (`G`). Unset: one and a half times the data, rounded up
        to a step such as 768M, 1G or 1536M. In a partition of the same size nothing moves that did not change; a change
        of the size moves every block once. The build says so when the store does not fit.
      '';
    };
    espSize = mkOption {
      type = size;
      # The kernel of arm64 is not compressed.
      default = if pkgs.stdenv.hostPlatform.isAarch64 then "256M" else "128M";
      defaultText = "128M, on arm64 256M";
      description = "Size of the EFI system partition, which has the kernel and the initrd.";
    };
    compression = mkOption {
      type = types.enum [
        "none"
        "lz4"
        "zstd"
      ];
      default = "none";
      description = ''
        How the store is compressed. `none` makes the largest disk and moves the fewest blocks for a change: compressed
        data has no fixed place. docs/explanation/image-layout.md has the figures. `zstd` needs a kernel that reads it:
        nixpkgs' do since June 2026.
      '';
    };
    verity.enable = lib.mkEnableOption ''
      dm-verity: the kernel checks each block of the store that it reads against a hash in the unified kernel image. A
      block that was changed stops the machine
    '';
    packages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = lib.literalExpression "[ pkgs.hello ]";
      description = ''
        Packages that a preview and the manifest name with version and licence, besides those that the system has in its
        path or in the paths of its services: what a service starts by its full path.
      '';
    };
    registerImage = mkOption {
      type = types.attrsOf (
        types.oneOf [
          types.str
          types.bool
        ]
      );
      example = {
        TpmSupport = "v2.0";
      };
      description = ''
        What the AMI is registered with, in the names of EC2's `RegisterImage`. Architecture, boot mode, ENA and IMDSv2
        are set already.
      '';
    };
  };

  config = {
    fleetswap.image.registerImage = {
      Architecture = mkDefault (if pkgs.stdenv.hostPlatform.isAarch64 then "arm64" else "x86_64");
      BootMode = mkDefault "uefi";
      RootDeviceName = mkDefault "/dev/xvda";
      EnaSupport = mkDefault true;
      ImdsSupport = mkDefault "v2.0";
    };

    assertions = [
      {
        assertion = pkgs.stdenv.hostPlatform.isx86_64 || pkgs.stdenv.hostPlatform.isAarch64;
        message = "Fleetswap's image is for x86_64-linux and aarch64-linux, not for ${pkgs.stdenv.hostPlatform.system}.";
      }
      {
        assertion = config.boot.initrd.systemd.enable;
        message = "Fleetswap's image needs `boot.initrd.systemd.enable`: its mounts are units of the initrd's systemd.";
      }
      {
        assertion = cfg.compression != "zstd" || readsZstd;
        message = ''
          The kernel, ${kernel.name}, cannot read a store that is compressed with zstd: it is built without
          EROFS_FS_ZIP_ZSTD, which nixpkgs' kernels have since June 2026. Use a newer nixpkgs, or
          `fleetswap.image.compression = "lz4"`.'';
      }
    ];

    # Not defaults: another definition is an error that names both files, instead of a machine that does not boot.
    fileSystems = {
      "/" = {
        # The device and no resizing are said, since nixpkgs' modules for clouds have other defaults.
        device = "tmpfs";
        fsType = "tmpfs";
        autoResize = false;
        options = [ "mode=0755" ];
      };
      "/usr" = {
        device = if verity then "/dev/mapper/usr" else "/dev/disk/by-partlabel/store";
        fsType = "erofs";
        # It is never written to, and the initrd has no fsck.erofs.
        noCheck = true;
        # Otherwise systemd-remount-fs fails.
        options = [ "ro" ];
      };
      "/nix/store" = {
        device = "/usr/nix/store";
        fsType = "none";
        options = [ "bind" ];
      };
    };

    boot.initrd.systemd.dmVerity.enable = lib.mkIf verity true;
    boot.kernelParams = lib.optionals verity [
      # The builder puts the root hash here, which it knows only when it has made the store.
      "usrhash=@usrhash@"
      "systemd.verity_usr_options=panic-on-corruption"
    ];

    # /usr is the store's file system, and read-only: its /usr/bin/env is in the image.
    system.activationScripts.usrbinenv = lib.mkForce "";
    environment =
      if leavesEnv then
        { createUsrBinEnv = mkDefault false; }
      else
        { usrbinenv = lib.mkIf hasNoEnv (lib.mkForce null); };

    system.build.fleetswapImage = import ../disk.nix {
      inherit lib pkgs;
      inherit (cfg)
        compression
        espSize
        name
        registerImage
        storeSize
        ;
      inherit verity;
      inherit (config.system.build) toplevel;
      ukiConfig = config.boot.uki.configFile;
      env = if hasNoEnv then "${pkgs.coreutils}/bin/env" else config.environment.usrbinenv;
      manifest = import ../manifest.nix { inherit lib roots; };
    };
  };
}
