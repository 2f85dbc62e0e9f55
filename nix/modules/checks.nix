# Refuses, before anything is built, what would need more at boot than the disk and the metadata service. Each check has
# a name, so that it can be allowed: `fleetswap.checks.allow = [ "acme" ];`. docs/how-to/nixos-image.md has the table.
{
  config,
  lib,
  options,
  ...
}:
let
  inherit (lib)
    any
    attrNames
    attrValues
    concatStringsSep
    elem
    filter
    filterAttrs
    ;

  # What this release or this configuration has no option for cannot be on.
  has = path: lib.hasAttrByPath path options;
  value = path: default: if has path then lib.attrByPath path default config else default;
  on = path: value path false;

  networkFileSystems = [
    "afs"
    "ceph"
    "cifs"
    "efs"
    "fuse.s3fs"
    "fuse.sshfs"
    "glusterfs"
    "lustre"
    "nfs"
    "nfs4"
    "smb3"
  ];
  # Whoever opens the folder mounts it; the boot does not.
  isLater = fs: elem "noauto" fs.options || elem "x-systemd.automount" fs.options;
  networkMounts =
    map (fs: fs.mountPoint) (
      filter (fs: (elem fs.fsType networkFileSystems || elem "_netdev" fs.options) && !isLater fs) (
        attrValues config.fileSystems
      )
    )
    ++ map (mount: mount.where) (
      filter (mount: elem (mount.type or "") networkFileSystems && mount.wantedBy or [ ] != [ ]) config.systemd.mounts
    );

  # `pool ntp.example.com iburst` is a server as well.
  isLocal =
    server:
    any (address: lib.hasInfix address server) [
      "169.254."
      "fd00:ec2::123"
    ];
  timeServers = lib.unique (
    lib.concatMap
      (service: if on service.enable then lib.concatMap (path: orEmpty (value path [ ])) service.servers else [ ])
      [
        {
          enable = [
            "services"
            "timesyncd"
            "enable"
          ];
          servers = [
            [
              "services"
              "timesyncd"
              "servers"
            ]
            [
              "services"
              "timesyncd"
              "fallbackServers"
            ]
          ];
        }
        {
          enable = [
            "services"
            "chrony"
            "enable"
          ];
          servers = [
            [
              "services"
              "chrony"
              "servers"
            ]
          ];
        }
        {
          enable = [
            "services"
            "ntp"
            "enable"
          ];
          servers = [
            [
              "services"
              "ntp"
              "servers"
            ]
          ];
        }
        {
          enable = [
            "services"
            "openntpd"
            "enable"
          ];
          servers = [
            [
              "services"
              "openntpd"
              "servers"
            ]
          ];
        }
      ]
  );
  orEmpty = list: if list == null then [ ] else list;
  farServers = filter (server: !isLocal server) timeServers;

  services = filterAttrs (_: service: service.enable) config.systemd.services;
  present = filter (name: services ? ${name});
  metadataServices = present [
    "fetch-ec2-metadata"
    "apply-ec2-data"
    "print-host-key"
  ];

  containers = value [ "virtualisation" "oci-containers" "containers" ] { };
  pulled = attrNames (
    filterAttrs (_: container: container.imageFile == null && container.imageStream or null == null) containers
  );

  # What waits until the network is online for a reason that has a check of its own, or a warning; and what only sends
  # what the machine says of itself, so that nothing else waits with it.
  saidElsewhere =
    name:
    lib.hasPrefix "acme-" name
    || elem name (
      metadataServices
      ++ map (container: containers.${container}.serviceName) pulled
      ++ [
        "amazon-init"
        "amazon-ssm-agent"
        "cloud-config"
        "cloud-final"
        "cloud-init"
        "cloud-init-local"
        # Of ours, by ./secrets.nix: KMS is asked when the network is up.
        "fleetswap-secrets"
        "nixos-upgrade"
        "vector"
      ]
    );
  onlineServices = attrNames (
    filterAttrs (
      name: service:
      elem "network-online.target" (service.wants ++ service.requires ++ service.bindsTo or [ ]) && !saidElsewhere name
    ) services
  );

  growing = map (fs: fs.mountPoint) (filter (fs: fs.autoResize || fs.autoFormat) (attrValues config.fileSystems));

  # found: what is refused, or null. why: what would happen. instead: what to do.
  checks = {
    acme =
      let
        certs = attrNames (value [ "security" "acme" "certs" ] { });
      in
      {
        found = if certs == [ ] then null else "certificates from ACME (${concatStringsSep ", " certs})";
        why = "each new machine would order a certificate over the Internet before it serves, and a fleet soon meets the rate limit of the authority";
        instead = "let the load balancer have the certificate (setting `fleetswap:front.certificate_arn`)";
      };
    auto-upgrade = {
      found =
        if
          on [
            "system"
            "autoUpgrade"
            "enable"
          ]
        then
          "`system.autoUpgrade`"
        else
          null;
      why = "the machine would fetch and build another system than the one that was released, and the store is read-only";
      instead = "release a new image";
    };
    cloud-init = {
      found =
        if
          on [
            "services"
            "cloud-init"
            "enable"
          ]
        then
          "cloud-init"
        else
          null;
      why = "it waits for the network, and what it makes of the user data is not in the image that was tested";
      instead = "put what it does into the configuration";
    };
    container-images = {
      found = if pulled == [ ] then null else "containers whose image is pulled (${concatStringsSep ", " pulled})";
      why = "each new machine would download them from a registry before it serves";
      instead = "give the container an `imageFile` or `imageStream` (`dockerTools.pullImage`), which is then in the image";
    };
    disk-encryption =
      let
        devices = attrNames (value [ "boot" "initrd" "luks" "devices" ] { });
      in
      {
        found = if devices == [ ] then null else "LUKS devices in the initrd (${concatStringsSep ", " devices})";
        why = "the boot would wait for a passphrase or for a key server";
        instead = "encrypt the volumes with KMS (setting `fleetswap:machine.kms_key`)";
      };
    ec2-metadata = {
      found = if metadataServices == [ ] then null else "the services ${concatStringsSep ", " metadataServices}";
      why = "they wait for the network and ask the metadata service up to 60 times before the services start";
      instead = "do not import nixpkgs' `amazon-image.nix`, or set `systemd.services.<name>.enable = false`";
    };
    grow-partition = {
      found =
        if
          on [
            "boot"
            "growPartition"
          ]
        then
          "`boot.growPartition`"
        else if growing != [ ] then
          "`autoResize` or `autoFormat` of ${concatStringsSep ", " growing}"
        else
          null;
      why = "the disk is read-only and has its size from the build; growing or formatting it costs time at each boot";
      instead = "set `fleetswap.image.storeSize`, and keep data on a volume or in a service of its own";
    };
    initrd-network = {
      found =
        if
          on [
            "boot"
            "initrd"
            "network"
            "enable"
          ]
          || on [
            "boot"
            "initrd"
            "systemd"
            "network"
            "enable"
          ]
        then
          "the network in the initrd"
        else
          null;
      why = "the boot would wait for DHCP before it mounts the disk";
      instead = "let systemd-networkd configure the network after the initrd";
    };
    network-mounts = {
      found = if networkMounts == [ ] then null else "file systems of the network (${concatStringsSep ", " networkMounts})";
      why = "the boot would wait for a server, and with it down no new machine would become healthy";
      instead = "mount them when they are used: options `noauto` and `x-systemd.automount`";
    };
    network-online = {
      found =
        if onlineServices == [ ] then
          null
        else
          "services that want `network-online.target` (${concatStringsSep ", " onlineServices})";
      why = "they, and what is after them, would wait until the network is online; a server can listen before that";
      instead = "use `network.target`, and let the service try again";
    };
    nix = {
      found =
        if
          on [
            "nix"
            "enable"
          ]
        then
          "Nix on the machine (`nix.enable`)"
        else
          null;
      why = "the store is read-only and has no database, and channels come from the outside";
      instead = "leave `nix.enable` false";
    };
    private-keys =
      let
        others = filter (module: value [ module "secrets" ] { } != { }) [
          "age"
          "sops"
        ];
      in
      {
        found =
          if others == [ ] then null else "secrets of agenix or sops-nix (`${concatStringsSep "`, `" (map (module: "${module}.secrets") others)}`)";
        why = "they are opened before the network is up, with a private key that would have to be in the image in plain";
        instead = "seal them with KMS (`fleetswap.secrets`)";
      };
    ssh-host-keys = {
      found =
        if
          on [
            "services"
            "openssh"
            "enable"
          ]
          && config.services.openssh.hostKeys != [ ]
          && value [ "services" "openssh" "generateHostKeys" ] true
        then
          "an SSH server whose host keys are made at boot"
        else
          null;
      why = "making them costs seconds at each boot, and nobody can know the keys of a new machine";
      instead = "use Session Manager or the EC2 serial console; or set `services.openssh.hostKeys = [ ]` and give sshd a key that you know";
    };
    swap = {
      found = if config.swapDevices == [ ] then null else "swap (`swapDevices`)";
      why = "the image has no partition for it, and the boot would wait 90 s for the device";
      instead = "use `zramSwap.enable`, or a larger instance type";
    };
    time-servers = {
      found = if farServers == [ ] then null else "time servers outside (${concatStringsSep ", " farServers})";
      why = "a subnet without a way to the Internet cannot ask them";
      instead = "use EC2's own, `169.254.169.123`, which is the default of our module `network`";
    };
    user-data = {
      found =
        if
          on [
            "virtualisation"
            "amazon-init"
            "enable"
          ]
        then
          "amazon-init, which runs the user data"
        else
          null;
      why = "it waits for the network and may rebuild the system with what it finds there";
      instead = "set `virtualisation.amazon-init.enable = false`";
    };
  };

  message = name: check: ''
    Fleetswap refuses ${toString check.found}: ${check.why}.
    Instead: ${check.instead}.
    Allow it with `fleetswap.checks.allow = [ "${name}" ];`.'';
in
{
  options.fleetswap.checks = {
    allow = lib.mkOption {
      type = lib.types.listOf (lib.types.enum (attrNames checks));
      default = [ ];
      example = [ "acme" ];
      description = "Checks whose findings are allowed in this image.";
    };
    reasons = lib.mkOption {
      type = lib.types.attrsOf (lib.types.attrsOf lib.types.str);
      internal = true;
      readOnly = true;
      default = lib.mapAttrs (_: check: { inherit (check) why instead; }) checks;
      description = "Why each check refuses, and what to do instead.";
    };
  };

  config = {
    assertions = lib.mapAttrsToList (name: check: {
      assertion = elem name config.fleetswap.checks.allow || check.found == null;
      message = message name check;
    }) checks;

    warnings =
      lib.optional
        (on [
          "services"
          "amazon-ssm-agent"
          "enable"
        ])
        ''
          services.amazon-ssm-agent asks Systems Manager at boot. The service does not wait for it, but a subnet needs a way
          there: a NAT gateway, or the interface endpoints ssm, ssmmessages and ec2messages.'';
  };
}
