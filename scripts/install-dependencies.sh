#!/bin/sh
# What `npm test` and `npm run ok` need before any Node of ours can run: the locked dependencies,
# those for developers too (./standin installs only what it runs with), and the one system library
# that the pinned Node is linked against. Says and does nothing when all is there.
set -eu
cd "$(dirname "$0")/.."

if ! [ -e /usr/lib/x86_64-linux-gnu/libatomic.so.1 ] && command -v apt-get >/dev/null; then
  if [ "$(id -u)" != 0 ]; then
    echo "libatomic1 is missing, which Node needs. As root: apt-get install libatomic1" >&2
    exit 1
  fi
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends libatomic1
fi

if [ -d node_modules/typescript ] && [ node_modules/.package-lock.json -nt package-lock.json ]; then
  exit 0
fi
# npm itself may run on an older Node than ours, and would warn.
NPM_CONFIG_LOGLEVEL=error npm ci --ignore-scripts
