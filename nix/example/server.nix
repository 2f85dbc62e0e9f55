# A server of static files. Replace `fleetswap.web` with your own service: an option of NixOS, or a unit.
{
  networking.hostName = "web";
  fleetswap.image.name = "web";

  fleetswap.web.enable = true;
  fleetswap.web.port = 8080;

  # A unit of your own; `pkgs` is an argument: begin this file with `{ pkgs, ... }:`.
  # systemd.services.shop = {
  #   wantedBy = [ "multi-user.target" ];
  #   serviceConfig.ExecStart = "${pkgs.shop}/bin/shop";
  #   serviceConfig.DynamicUser = true;
  # };
  # networking.firewall.allowedTCPPorts = [ 8080 ];

  system.stateVersion = "26.05";
}
