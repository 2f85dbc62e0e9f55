# A server that only runs its services: nothing that costs time at boot, asks the outside, or waits for a person.
{
  lib,
  options,
  pkgs,
  modulesPath,
  ...
}:
let
  inherit (lib) mkDefault;
in
{
  imports = [ "${modulesPath}/profiles/minimal.nix" ];

  # The machine is never changed, only replaced. Its store cannot be written to.
  nix.enable = mkDefault false;
  system.switch.enable = mkDefault false;
  system.disableInstallerTools = mkDefault true;
  users.mutableUsers = mkDefault false;
  # Nobody logs in, and NixOS refuses a configuration that lets nobody, unless it is told so.
  users.allowNoPasswordLogin = mkDefault true;

  # No Perl and no shell scripts to make /etc and the users: a read-only overlay, and userborn.
  boot.initrd.systemd.enable = mkDefault true;
  system.etc.overlay.enable = mkDefault true;
  system.etc.overlay.mutable = mkDefault false;
  services.userborn.enable = mkDefault true;
  programs.less.lessopen = mkDefault null;

  # An empty file is what systemd needs to start with a read-only /etc (machine-id(5), "First boot semantics"). Newer
  # releases set it themselves; theirs then counts.
  environment.etc.machine-id = lib.mkOverride 1400 {
    text = "";
    mode = "0444";
  };

  # The only console that EC2 shows (`aws ec2 get-console-output`), and QEMU's first serial port, which has another name
  # on arm64. The last one that exists is the main one.
  boot.kernelParams = lib.optional pkgs.stdenv.hostPlatform.isAarch64 "console=ttyAMA0,115200" ++ [
    "console=ttyS0,115200"
    # A machine that cannot boot starts anew instead of waiting for a person.
    "panic=10"
    "boot.panic_on_fail"
    # What is mounted is said in fstab. The generator would also mount the EFI system partition.
    "systemd.gpt_auto=0"
    # An EBS volume may take long and is never lost (AWS: "I/O operation timeout" of NVMe volumes).
    "nvme_core.io_timeout=4294967295"
  ];
  systemd.enableEmergencyMode = mkDefault false;
  systemd.services = {
    "serial-getty@ttyS0".enable = mkDefault false;
    "serial-getty@hvc0".enable = mkDefault false;
    "getty@tty1".enable = mkDefault false;
    "autovt@".enable = mkDefault false;
  };

  # Only the drivers of EC2 and of QEMU, where the image can be tried. erofs, loop and overlay come with the mounts.
  boot.initrd.includeDefaultModules = mkDefault false;
  boot.initrd.availableKernelModules = [
    "nvme"
    "ena"
    "virtio_pci"
    "virtio_blk"
    "virtio_scsi"
    "virtio_net"
  ];
  boot.growPartition = mkDefault false;

  # The firmware starts the kernel: no loader, no menu.
  boot.loader.grub.enable = mkDefault false;

  # The disk is read-only, so the journal is in memory. Newer releases have `settings`, and warn of the old name.
  services.journald =
    if options.services.journald ? settings then
      { settings.Journal.Storage = mkDefault "volatile"; }
    else
      { storage = mkDefault "volatile"; };
}
