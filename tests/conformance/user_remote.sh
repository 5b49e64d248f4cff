#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# flavour: plain
# remote.py again, of a memserver that has given up root's rights: PAM is asked by its helper.
MEMSERVER_USER=games exec "$(dirname "$0")/remote.py"
