"""A stand-in for NitroTPM's attestation: documents, the vendor command that asks for one, how KMS answers them."""
