"""The builder of images from closures, nix/image."""
