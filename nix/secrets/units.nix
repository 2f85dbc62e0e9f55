# The unit that opens a machine's secrets, and what it adds to the units that use them, in the form of NixOS's
# `systemd.services`. ../modules/secrets.nix and ../debian have the same from here.
#
#   shell        what runs ./open-secrets, and `path` the packages with the programs that it calls
#   sealed       the sealed file in the store
#   names        of each secret: owner, group, mode, and the services that get it as a credential
#   authorities  files of certificate authorities on the machine; those that are not there are passed over
#   keyService   the program ../key-service, which asks KMS with what the machine's NitroTPM attests, or null
#   default      marks what a service may have another value for
{
  shell,
  path,
  sops,
  jq,
  sealed,
  names,
  deadline,
  authorities,
  keyService ? null,
  default ? value: value,
}:
let
  folder = "/run/fleetswap-secrets";
  unit = "fleetswap-secrets.service";
  services = builtins.attrNames (
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = null;
      }) (builtins.concatLists (map (secret: secret.services) (builtins.attrValues names)))
    )
  );
  secretsOf = service: builtins.filter (name: builtins.elem service names.${name}.services) (builtins.attrNames names);
  attested = keyService != null;
  optional = condition: values: if condition then values else [ ];
  cas = authorities ++ [
    # From the configuration of a virtual machine's firmware, which EC2 does not have: systemd imports what is called
    # opt/io.systemd.credentials/fleetswap.ca there. Where there is none, the credential does not exist.
    "%d/fleetswap.ca"
  ];
  # In a /tmp of the unit's own.
  socket = "/tmp/key-service";

  user = service: {
    name = service;
    value = {
      requires = [ unit ];
      after = [ unit ];
      serviceConfig = {
        LoadCredential = map (name: "${name}:${folder}/${name}") (secretsOf service);
        # A core dump would have the secret in it.
        LimitCORE = default 0;
      };
    };
  };
in
builtins.listToAttrs (map user services)
// {
  fleetswap-secrets = {
    description = "Secrets, opened with KMS";
    # Nothing else of an image may wait for the network: the checks allow it for this unit, since KMS is out there.
    wants = [ "network-online.target" ];
    requires = [ ];
    after = [ "network-online.target" ];
    wantedBy = [ "multi-user.target" ];
    inherit path;
    serviceConfig = {
      Type = "oneshot";
      RemainAfterExit = true;
      ExecStart = builtins.concatStringsSep " " (
        # It lives as long as what it starts.
        optional attested ([ "${keyService} -socket ${socket}" ] ++ map (file: "-ca ${file}") cas ++ [ "--" ])
        ++ [
          shell
          "${./open-secrets}"
          "--sealed %d/sealed"
          "--into ${folder}"
          "--sops ${sops}"
          "--deadline ${toString deadline}"
        ]
        ++ optional (jq != null) [ "--jq ${jq}" ]
        ++ optional attested [ "--key-service ${socket}" ]
        ++ map (file: "--ca ${file}") cas
        ++ map (
          name:
          let
            secret = names.${name};
          in
          "${name}:${secret.mode}:${secret.owner}:${secret.group}"
        ) (builtins.attrNames names)
      );
      # A credential without a path is one that the service manager has; without it, the unit starts all the same.
      LoadCredential = [
        "sealed:${sealed}"
        "fleetswap.ca"
      ];
      # In memory. Gone when the unit fails or stops; what systemd has copied for a service stays until that ends.
      RuntimeDirectory = "fleetswap-secrets";
      RuntimeDirectoryMode = "0711";
      # open-secrets ends by itself, with a word on why.
      TimeoutStartSec = deadline + 30;
      StandardOutput = "journal";
      StandardError = "journal+console";
      SyslogIdentifier = "open-secrets";

      UMask = "0077";
      LimitCORE = 0;
      MemorySwapMax = 0;
      # It gives files to those who own them, and may do nothing else that root may; attested, it reaches the TPM, which
      # may be a group's.
      CapabilityBoundingSet = "CAP_CHOWN" + (if attested then " CAP_DAC_OVERRIDE" else "");
      NoNewPrivileges = true;
      ProtectSystem = "strict";
      ProtectHome = true;
      PrivateTmp = true;
      PrivateDevices = !attested;
      DevicePolicy = "closed";
      DeviceAllow = optional attested [ "/dev/tpm0 rw" ];
      ProtectClock = true;
      ProtectHostname = true;
      ProtectControlGroups = true;
      ProtectKernelLogs = true;
      ProtectKernelModules = true;
      ProtectKernelTunables = true;
      ProtectProc = "invisible";
      LockPersonality = true;
      MemoryDenyWriteExecute = true;
      RestrictNamespaces = true;
      RestrictRealtime = true;
      RestrictSUIDSGID = true;
      RestrictAddressFamilies = "AF_INET AF_INET6 AF_NETLINK AF_UNIX";
      SystemCallArchitectures = "native";
      SystemCallFilter = "@system-service";
    };
  };
}
