# One network interface with DHCP, by systemd-networkd; names and time from the VPC, never from the Internet.
{ lib, options, ... }:
let
  inherit (lib) mkDefault;
  # EC2's time server is on every machine's own link, in every region (EC2 User Guide, "Set the time").
  time = [ "169.254.169.123" ];
in
{
  networking.useNetworkd = mkDefault true;
  # NixOS's own DHCP settings match every interface by name; ours below match what is a network card.
  networking.useDHCP = mkDefault false;
  networking.timeServers = mkDefault time;

  systemd.network.networks."10-fleetswap" = {
    # A network card, and not a bridge or a pair that a container's runtime makes.
    matchConfig.Type = mkDefault "ether";
    matchConfig.Kind = mkDefault "!*";
    networkConfig = {
      # Both: in a subnet without IPv6 nobody offers any, and that is not waited for.
      # A word: releases differ in whether they take a truth value here.
      DHCP = mkDefault "yes";
      IPv6AcceptRA = mkDefault true;
      LLMNR = mkDefault false;
      MulticastDNS = mkDefault false;
    };
    # A lease's time servers are as good as ours, but a VPC may be told to offer others (DHCP option set).
    dhcpV4Config.UseNTP = mkDefault false;
    dhcpV6Config.UseNTP = mkDefault false;
  };

  # One interface with an address is online. By default every one must be, for up to two minutes.
  systemd.network.wait-online.anyInterface = mkDefault true;
  systemd.network.wait-online.timeout = mkDefault 20;

  services.timesyncd.servers = mkDefault time;
  services.timesyncd.fallbackServers = mkDefault [ ];

  # Without a name server from DHCP there is none: systemd would ask public ones.
  services.resolved =
    if options.services.resolved ? settings then
      { settings.Resolve.FallbackDNS = mkDefault [ ]; }
    else
      { fallbackDns = mkDefault [ ]; };
}
