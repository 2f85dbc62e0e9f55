# A server of static files. Put your own service in the place of `fleetswap.web`: an option of NixOS, or a unit.
{
  networking.hostName = "web";
  fleetswap.image.name = "web";

  fleetswap.web.enable = true;
  fleetswap.web.port = 8080;

  # systemd.services.shop = {
  #   wantedBy = [ "multi-user.target" ];
  #   serviceConfig.ExecStart = "${pkgs.shop}/bin/shop";
  #   serviceConfig.DynamicUser = true;
  # };
  # networking.firewall.allowedTCPPorts = [ 8080 ];

  system.stateVersion = "25.11";
}
