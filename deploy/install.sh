#!/bin/sh
# Installs adsn on Debian or Ubuntu with systemd: an account, a virtual environment, units, a udev rule, settings.
#
#   sudo deploy/install.sh                          from this checkout, with the pinned packages
#   sudo deploy/install.sh --from adsn-0.1.0.whl    from a wheel
#   deploy/install.sh --dry-run                     prints every step without doing it
#   sudo deploy/install.sh --uninstall [--purge]    --purge: also removes settings, logs, state and the account
#
#   --prefix DIR     link to the current release; default /opt/adsn
#   --extras LIST    default cpu,kiosk,sign; with any others, the packages are not pinned
#   --python PATH    default python3 (3.10 or later, with venv: apt-get install python3-venv)
#
# Run it again to upgrade: it installs the new release beside the old one, checks that it accepts the settings, and then
# switches to it. It enables nothing, and restarts services that are running. pip's variables (PIP_INDEX_URL …) work.
set -eu

PREFIX=/opt/adsn
EXTRAS=cpu,kiosk,sign
PYTHON=python3
FROM=
DRY=
UNINSTALL=
PURGE=
CONFIG=/etc/adsn
UNITS=/etc/systemd/system
RULES=/etc/udev/rules.d/70-adsn-cameras.rules
SERVICES="adsn-serve.service adsn-kiosk.service"
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
CHECKOUT=$(dirname -- "$HERE")
ROOT_FOLDERS="/ /bin /boot /dev /etc /home /lib /media /mnt /opt /proc /root /run /sbin /srv /sys /tmp /usr /usr/local /var"

say() { printf '%s\n' "$*"; }
die() {
  say "error: $*" >&2
  exit 1
}
# Show one step, and do it unless this is a dry run.
run() {
  say "+ $*"
  [ -n "$DRY" ] || "$@"
}
# Write standard input to a file with a mode.
write() {
  say "+ write $1 ($2)"
  if [ -n "$DRY" ]; then
    cat >/dev/null
  else
    cat >"$1.part" && chmod "$2" "$1.part" && mv -f -- "$1.part" "$1"
  fi
}
running_systemd() { [ -d /run/systemd/system ]; }
# In a build root or a container systemd does not run, which is not an error.
systemd() { if running_systemd; then run systemctl "$@"; fi; }

while [ $# -gt 0 ]; do
  case $1 in
    --prefix | --extras | --python | --from)
      [ $# -ge 2 ] || die "$1 needs a value."
      case $1 in
        --prefix) PREFIX=${2%/} ;;
        --extras) EXTRAS=$2 ;;
        --python) PYTHON=$2 ;;
        --from) FROM=$2 ;;
      esac
      shift 2
      ;;
    --dry-run) DRY=yes && shift ;;
    --uninstall) UNINSTALL=yes && shift ;;
    --purge) PURGE=yes && shift ;;
    -h | --help)
      sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) die "unknown option $1; see --help." ;;
  esac
done

case $PREFIX in
  /*/..* | */../* | *' '* | *'|'* | *'&'*) die "--prefix $PREFIX: give a plain absolute path." ;;
  /*) ;;
  *) die "--prefix $PREFIX: give an absolute path." ;;
esac
case " $ROOT_FOLDERS " in *" $PREFIX "*) die "--prefix $PREFIX is a system folder; pass another." ;; esac
RELEASES=$PREFIX-releases
[ -z "$PURGE" ] || [ -n "$UNINSTALL" ] || die "--purge needs --uninstall."
[ -n "$DRY" ] || [ "$(id -u)" -eq 0 ] || die "this changes the system: run it as root, or with --dry-run."

uninstall() {
  for unit in $SERVICES; do
    [ ! -e "$UNITS/$unit" ] || {
      systemd disable --now "$unit"
      run rm -f -- "$UNITS/$unit"
    }
  done
  systemd daemon-reload
  if [ -e "$RULES" ]; then
    if [ -n "$PURGE" ] || cmp -s "$HERE/udev/70-adsn-cameras.rules" "$RULES"; then
      run rm -f -- "$RULES"
    else
      say "kept: $RULES, which names your cameras"
    fi
  fi
  [ ! -L "$PREFIX" ] || run rm -f -- "$PREFIX"
  [ ! -e "$RELEASES/.adsn-releases" ] || run rm -rf -- "$RELEASES"
  if [ -n "$PURGE" ]; then
    # A dynamic user's folders are links into private/.
    for base in /var/lib /var/cache /var/log; do
      for name in adsn adsn-serve adsn-kiosk; do
        for path in "$base/private/$name" "$base/$name"; do
          if [ -e "$path" ] || [ -L "$path" ]; then run rm -rf -- "$path"; fi
        done
      done
    done
    [ ! -d "$CONFIG" ] || run rm -rf -- "$CONFIG"
    ! getent passwd adsn >/dev/null || run userdel adsn
    ! getent group adsn >/dev/null || run groupdel adsn
  else
    say "kept: $CONFIG, state and logs, and the account adsn (--purge removes them)"
  fi
  say "adsn is uninstalled."
}

# Source for pip: the checkout around this script, or the argument of --from.
source_of() {
  if [ -n "$FROM" ]; then
    case $FROM in
      *.whl | */*) [ -e "$FROM" ] || die "--from $FROM: there is no such file." ;;
    esac
    printf '%s' "$FROM"
  elif [ -f "$CHECKOUT/pyproject.toml" ]; then
    printf '%s' "$CHECKOUT"
  else
    die "this script is not in a checkout; pass a wheel or a package with --from."
  fi
}

account() {
  getent group adsn >/dev/null || run groupadd --system adsn
  getent passwd adsn >/dev/null || run useradd --system --gid adsn --home-dir /var/lib/adsn-serve --no-create-home \
    --shell /usr/sbin/nologin --comment 'adsn face liveness' adsn
  # Members of video may open cameras.
  ! getent group video >/dev/null || run usermod --append --groups video adsn
}

# Make a virtual environment at $1 from source $2.
environment() {
  run "$PYTHON" -m venv "$1"
  lock=$CHECKOUT/requirements/kiosk.txt
  wanted=$2
  if [ -d "$2" ]; then
    # Build from a copy: a build leaves folders behind, from which the next one would take deleted modules.
    wanted=$1/source
    run mkdir -- "$wanted"
    for name in pyproject.toml README.md LICENSE adsn calib export models runtime service synthetic; do
      run cp -R -- "$2/$name" "$wanted/"
    done
  fi
  if [ "$EXTRAS" = cpu,kiosk,sign ] && [ -f "$lock" ]; then
    run "$1/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
    run "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$wanted"
  else
    run "$1/bin/python" -m pip install --quiet --disable-pip-version-check "${wanted}[$EXTRAS]"
  fi
  [ "$wanted" = "$2" ] || run rm -rf -- "$wanted"
  run "$1/bin/python" -m compileall -q "$1/lib"
}

# Write settings with every key if there are none yet. $1: release, $2: program, $3: file.
settings() {
  if [ -e "$3" ]; then
    say "kept: $3"
  elif [ -n "$DRY" ]; then
    write "$3" 0644 </dev/null
  else
    # Through a temporary file, so that a failing program leaves no empty settings.
    "$1/bin/$2" --print-config >"$3.default"
    write "$3" 0644 <"$3.default"
    rm -f -- "$3.default"
  fi
}

install_units() {
  for unit in $SERVICES; do
    sed "s|/opt/adsn/|$PREFIX/|g" "$HERE/systemd/$unit" | write "$UNITS/$unit" 0644
  done
  if [ -e "$RULES" ]; then
    say "kept: $RULES"
  else
    write "$RULES" 0644 <"$HERE/udev/70-adsn-cameras.rules"
  fi
  systemd daemon-reload
}

abandon() {
  rm -rf -- "$1"
  say "error: not installed; the previous installation is unchanged." >&2
}

install() {
  if [ -e "$PREFIX" ] && [ ! -L "$PREFIX" ]; then
    die "$PREFIX exists, but this script did not create it. Move it away, or pass another --prefix."
  fi
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    die "$PYTHON is missing or older than 3.10; pass another with --python."
  "$PYTHON" -c 'import ensurepip' 2>/dev/null || die "$PYTHON cannot make environments: apt-get install python3-venv"
  source=$(source_of)
  # It was set in a subshell, whose failure must end this script too.
  [ -n "$source" ] || exit 1
  release=$RELEASES/$(date -u +%Y%m%dT%H%M%SZ)
  previous=$(readlink "$PREFIX" || true)
  account
  for folder in "$RELEASES" "$CONFIG" "$UNITS" "$(dirname "$RULES")"; do run mkdir -p -m 0755 -- "$folder"; done
  write "$RELEASES/.adsn-releases" 0644 </dev/null
  # From here on, a failure leaves the previous installation unchanged.
  [ -n "$DRY" ] || trap 'abandon "$release"' EXIT
  environment "$release" "$source"
  settings "$release" adsn-serve "$CONFIG/serve.toml"
  settings "$release" adsn-kiosk "$CONFIG/kiosk.toml"
  run "$release/bin/adsn-serve" --version
  run "$release/bin/adsn-serve" --config "$CONFIG/serve.toml" --check-config
  install_units
  run ln -sfn -- "$release" "$PREFIX.next"
  run mv -fT -- "$PREFIX.next" "$PREFIX"
  trap - EXIT
  for unit in $SERVICES; do systemd try-restart "$unit"; done
  # Keep the previous release. To go back: ln -sfn $previous $PREFIX.
  [ -n "$DRY" ] || for old in "$RELEASES"/*; do
    [ "$old" = "$release" ] || [ "$old" = "$previous" ] || run rm -rf -- "$old"
  done
  say
  say "adsn is installed in $PREFIX. Next steps:"
  say "  $PREFIX/bin/adsn-doctor                       what works on this machine"
  say "  $CONFIG/serve.toml, then: systemctl enable --now adsn-serve"
  say "  $CONFIG/kiosk.toml (name the cameras), then: systemctl enable --now adsn-kiosk"
  [ -z "$previous" ] || say "  to go back: ln -sfn $previous $PREFIX && systemctl try-restart $SERVICES"
}

if [ -n "$UNINSTALL" ]; then uninstall; else install; fi
