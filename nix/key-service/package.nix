# The key service as a package: `pkgs.callPackage ./package.nix { }`.
{ lib, buildGoModule }:

buildGoModule {
  pname = "fleetswap-key-service";
  version = "0.1.0";
  src = lib.fileset.toSource {
    root = ./.;
    fileset = lib.fileset.fileFilter (file: file.hasExt "go" || file.name == "go.mod") ./.;
  };
  # It needs Go's standard library alone, so there is nothing to vendor.
  vendorHash = null;
  env.CGO_ENABLED = 0;
  ldflags = [
    "-s"
    "-w"
  ];
  meta = {
    description = "Key service for sops that asks KMS with the attestation document of a NitroTPM";
    license = lib.licenses.asl20;
    mainProgram = "fleetswap-key-service";
    platforms = lib.platforms.linux;
  };
}
