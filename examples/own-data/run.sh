#!/bin/sh
# From a set in ./faces to a signed bundle and its report. docs/own-data.md explains each step.
set -eu
here=$(dirname "$0")

adsn-train "$here/recipe.toml" --out runs/my-rig
test -f release.pem || adsn-serve keygen --out release.pem
# --max-flips is for a small set: a single test pair of it exceeds the default limit.
adsn-export runs/my-rig/checkpoint.safetensors --int8 --calib "$here/plan.toml" --max-flips 0.02 \
  --out runs/bundle --sign release.pem
adsn-eval runs/bundle --data "$here/plan.toml" --out runs/scores.json --report runs/report.html
echo "Read runs/report.html, then: ADSN_BUNDLE=runs/bundle ADSN_BUNDLE_KEY=release.pub.pem adsn-serve"
