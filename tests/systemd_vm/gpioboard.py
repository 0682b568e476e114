"""A USB board with four GPIO lines (Microchip MCP2221), simulated in user space over ``/dev/uhid``.

The kernel's own driver detects the board and provides a GPIO chip. Like the real board, it keeps the level of a line
after the line was released. It uses only the standard library, because it runs in the guest. Commands 0x50 and 0x51 of
the data sheet (DS20005565), "Set GPIO Output Values" and "Get GPIO Values".
"""

from __future__ import annotations

import os
import struct
import threading
import time

# include/uapi/linux/uhid.h
CREATE2, OUTPUT, INPUT2 = 11, 6, 12
EVENT_BYTES = 4 + 4380
BUS_USB, VENDOR, PRODUCT = 0x03, 0x04D8, 0x00DD
REPORT = 64
# Vendor-defined usage page, 64 bytes in and 64 bytes out, no report numbers.
DESCRIPTOR = bytes.fromhex("0600ff0901a1010902150026ff007508954081020903150026ff00750895409102c0")
SET, GET, LINES = 0x50, 0x51, 4


class Board:
    """The simulated board, connected on creation. ``levels``: level of each line. ``changes``: (monotonic seconds,
    line, level)."""

    def __init__(self) -> None:
        self.levels = [0] * LINES
        self.directions = [1] * LINES
        self.changes: list[tuple[float, int, int]] = []
        self._file = os.open("/dev/uhid", os.O_RDWR)
        names = (b"MCP2221", b"guest", b"1")
        numbers = (len(DESCRIPTOR), BUS_USB, VENDOR, PRODUCT, 0x100, 0)
        create = struct.pack("<I128s64s64sHHIIII", CREATE2, *names, *numbers)
        os.write(self._file, create + DESCRIPTOR)
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            event = os.read(self._file, EVENT_BYTES)
            if struct.unpack_from("<I", event)[0] != OUTPUT:
                continue
            report = bytearray(event[4 : 4 + REPORT])
            if report[0] == SET:
                # Bytes for each line: whether to change the level, level, whether to change the direction, direction.
                for line in range(LINES):
                    at = 2 + 4 * line
                    if report[at] and self.levels[line] != report[at + 1]:
                        self.levels[line] = report[at + 1]
                        self.changes.append((time.monotonic(), line, report[at + 1]))
                    if report[at + 2]:
                        self.directions[line] = report[at + 3]
            elif report[0] == GET:
                for line in range(LINES):
                    report[2 + 2 * line], report[3 + 2 * line] = self.levels[line], self.directions[line]
            report[1] = 0
            os.write(self._file, struct.pack("<IH", INPUT2, REPORT) + report)
