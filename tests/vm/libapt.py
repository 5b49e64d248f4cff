# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages into a cache, downloaded and unpacked, never installed."""
import os
import re
import subprocess
import sys


def die(why):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {why}")


def cache_dir():
    """Root's cache is the machine's; everybody else has one of their own."""
    if os.environ.get("REMEM_CACHE"):
        return os.environ["REMEM_CACHE"]
    if os.geteuid() == 0:
        return "/var/cache/remem"
    return os.path.expanduser("~/.cache/remem")


def output(*argv, cwd=None):
    done = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        die(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Apt:
    """The machine's apt; or, for a suite that it does not have in its lists, one with lists of its
    own below `folder`, from the machine's mirror and checked by Debian's keys."""

    def __init__(self, suite=None, folder=None):
        self.options = []
        if not suite:
            return
        mirrors = output("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages",
                         "Component: main").split()
        mirror = next((m for m in mirrors if m.rstrip("/").endswith("/debian")), "http://deb.debian.org/debian")
        os.makedirs(f"{folder}/lists/partial")
        with open(f"{folder}/sources.list", "w") as sources:
            sources.write(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {suite} main\n")
        for option in (f"Dir::Etc::sourcelist={folder}/sources.list", "Dir::Etc::sourceparts=/dev/null",
                       f"Dir::State::lists={folder}/lists", "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache="):
            self.options += ["-o", option]
        output("apt-get", "-qq", *self.options, "-o", "APT::Sandbox::User=root", "update")

    def cache(self, *argv):
        return output("apt-cache", *self.options, *argv)

    def get(self, *argv, **more):
        return output("apt-get", "-qq", *self.options, *argv, **more)

    def candidate(self, package):
        """The version it would install, or None where the lists don't know the package."""
        found = re.search(r"Candidate: (\S+)", self.cache("policy", package))
        return None if not found or found[1] == "(none)" else found[1]
