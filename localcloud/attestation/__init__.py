"""What NitroTPM attests and how KMS reads it: documents, the vendor command that asks for one, the answer to them."""
