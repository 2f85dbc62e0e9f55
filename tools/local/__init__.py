"""The stack `local` on the local cloud: what `make up`, `preview`, `rollback`, `status` and `down` do after set-up.

It decides which configuration an update gets, and whether the stack's state still belongs to the account of the local
cloud. It starts the real `pulumi` and hands on its exit status. It never touches another stack, never hands real AWS
or Pulumi credentials on, and writes nothing outside its work folder.

Exit status: pulumi's own; 2 where something is wrong before pulumi was started.
"""
