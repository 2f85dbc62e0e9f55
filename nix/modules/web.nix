# The example service: static files on one port, with a path for the health check.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.fleetswap.web;
in
{
  options.fleetswap.web = {
    enable = lib.mkEnableOption "the example service, a web server of static files";
    port = lib.mkOption {
      type = lib.types.port;
      default = 8080;
      description = "Port that it listens on: the setting `fleetswap:health.port`.";
    };
    root = lib.mkOption {
      type = lib.types.path;
      default = pkgs.writeTextDir "index.html" "Hello from ${config.networking.hostName}\n";
      defaultText = lib.literalMD "a folder with an `index.html` that greets";
      description = "Folder that it serves.";
    };
    healthPath = lib.mkOption {
      type = lib.types.str;
      default = "/healthz";
      description = "Path that answers 200 with any `Host` header: the setting `fleetswap:health.path`.";
    };
  };

  config = lib.mkIf cfg.enable {
    networking.firewall.allowedTCPPorts = [ cfg.port ];
    services.nginx = {
      enable = true;
      # Longer than the load balancer keeps an idle connection (60 s), or users sometimes get a 502. A log of requests
      # would fill the memory, where /var/log is.
      appendHttpConfig = ''
        keepalive_timeout 75s;
        access_log off;
      '';
      virtualHosts.default = {
        inherit (cfg) root;
        default = true;
        listen = [
          {
            addr = "0.0.0.0";
            inherit (cfg) port;
          }
        ];
        locations.${cfg.healthPath}.return = "200";
      };
    };
    fleetswap.image.packages = [ config.services.nginx.package ];
  };
}
