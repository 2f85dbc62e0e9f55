"""The TPM of a machine whose AMI has `TpmSupport`: swtpm, as a stand-in for NitroTPM.

Decides how the two are connected: QEMU has a socket to this process, and this process one to swtpm. What QEMU says on
the control channel is passed on; what the machine says to its TPM goes through `MessageBuffers`, which answers what is
NitroTPM's alone. The TPM's state is in the folder `tpm` of the machine, and lasts as long as that, so over a stop and a
start. swtpm ends with its connection, and with the thread that started it. Source: swtpm(8), and its tpm_ioctl.h for
the control channel.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from localcloud.attestation.message_buffers import MessageBuffers
from localcloud.attestation.tpm_wire import HEADER

if TYPE_CHECKING:
    from pathlib import Path

    from localcloud.attestation.documents import Attestor
    from localcloud.processes.children import Children

FOLDER, LOG = "tpm", "tpm.log"
GET_STATEBLOB, SET_DATAFD = 12, 16  # CMD_… of tpm_ioctl.h
VOLATILE: Final = 2  # PTM_BLOB_TYPE_VOLATILE
DECRYPTED: Final = 1  # PTM_STATE_FLAG_DECRYPTED
LARGEST_ANSWER: Final = 65_536
BLOB_HEADER: Final = 16

log = logging.getLogger(__name__)


def devices(descriptor: int) -> list[str]:
    """QEMU's arguments for a TPM at the socket that it inherits. NitroTPM, too, is a CRB device (EC2 user guide)."""
    return [
        *("-chardev", f"socket,id=tpm,fd={descriptor}"),
        *("-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"),
    ]


class Tpm:
    """A TPM that runs. `qemu` is the descriptor of the socket that QEMU gets, until `handed_over`."""

    def __init__(self, folder: Path, children: Children, attestor: Attestor, module_id: str) -> None:
        """`module_id` names the machine in its documents. Call it in a thread that lives as long as the machine."""
        (folder / FOLDER).mkdir(exist_ok=True)
        self._sign = partial(attestor.document, module_id)
        self._control, self._for_qemu = socket.socketpair()
        self._swtpm, for_swtpm = socket.socketpair()
        self._data: socket.socket | None = None  # QEMU's, once it gave it
        self._commands: socket.socket | None = None  # swtpm's
        with for_swtpm:
            # A path of its own would be cut at a comma; without --daemon swtpm stays in its folder.
            command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={FOLDER}"]
            command += ["--ctrl", f"type=unixio,clientfd={for_swtpm.fileno()}", "--terminate"]
            self.process = children.start(command, cwd=folder, log=folder / LOG, inherited=(for_swtpm.fileno(),))
        self._buffers = MessageBuffers(self._execute, self._volatile, self._sign)
        self._thread = threading.Thread(target=self._relay, name=f"tpm {module_id}", daemon=True)

    @property
    def qemu(self) -> int:
        """The descriptor that QEMU inherits."""
        return self._for_qemu.fileno()

    def handed_over(self) -> None:
        """QEMU has its end of the socket: begin."""
        self._for_qemu.close()
        self._thread.start()

    def end(self) -> bool:
        """Ask swtpm to end; whether it has, so that another may have its state. Never waits."""
        return self.process.end()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    def _relay(self) -> None:
        """Pass on what QEMU says until it or swtpm has gone."""
        try:
            while True:
                waiting = [self._control, *([self._data] if self._data is not None else [])]
                ready, _, _ = select.select(waiting, [], [])
                if self._control in ready and not self._pass_control():
                    break
                if self._data is not None and self._data in ready and not self._pass_command():
                    break
        except (OSError, EOFError, struct.error):
            log.info("%s has lost its TPM", self._thread.name)
        finally:
            for end in (self._control, self._swtpm, self._data, self._commands):
                if end is not None:
                    end.close()

    def _pass_control(self) -> bool:
        """Pass on one request of the control channel and its answer; whether there was one."""
        message, descriptors, _, _ = socket.recv_fds(self._control, LARGEST_ANSWER, 1)
        if not message:
            return False
        if descriptors:  # with CMD_SET_DATAFD: the machine's side of the channel for commands
            self._data = socket.socket(fileno=descriptors[0])
            self._commands, for_swtpm = socket.socketpair()
            with for_swtpm:
                socket.send_fds(self._swtpm, [message], [for_swtpm.fileno()])
        else:
            self._swtpm.sendall(message)
        answer = self._swtpm.recv(LARGEST_ANSWER)
        self._control.sendall(answer)
        return bool(answer)

    def _pass_command(self) -> bool:
        """Answer one command of the machine; whether there was one."""
        data = self._data
        if data is None:
            return False
        command = _message(data)
        if command:
            data.sendall(self._buffers(command))
        return bool(command)

    def _execute(self, command: bytes) -> bytes:
        if self._commands is None:
            raise EOFError
        self._commands.sendall(command)
        answer = _message(self._commands)
        if not answer:
            raise EOFError
        return answer

    def _volatile(self) -> bytes:
        """The TPM's volatile state. The control channel is ours now: its requests are answered one by one."""
        self._swtpm.sendall(struct.pack(">IIII", GET_STATEBLOB, DECRYPTED, VOLATILE, 0))
        result, _, _, size = struct.unpack(">IIII", _exactly(self._swtpm, BLOB_HEADER))
        return _exactly(self._swtpm, size) if result == 0 else b""


def _message(end: socket.socket) -> bytes:
    """One command or answer, whose size is in its header; empty at the end of the connection."""
    try:
        header = _exactly(end, HEADER)
    except EOFError:
        return b""
    return header + _exactly(end, max(0, int.from_bytes(header[2:6], "big") - HEADER))


def _exactly(end: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = end.recv(size - len(found))
        if not more:
            raise EOFError
        found += more
    return found
