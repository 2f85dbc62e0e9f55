"""Sealed files and sops: reads the files, with the rules they are made by, and calls sops to seal and to change them.

The files stay plain sops files, which sops opens without any of this. No word that sops prints is shown, except what it
repeats of KMS: its other errors can contain a secret.
"""
