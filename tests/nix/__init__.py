"""The demo image and the calls to nix, with the real nix and real machines."""
