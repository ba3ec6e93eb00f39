#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prepares a deploy of site/ for one release. Reads the invocation's input (JSON) from stdin, checks
# in with the deploy target, and writes deploy/<slug>/. Its network is that one host and port.
set -eu
target=http://host.volary:18481

# field NAME: the first string of that name in the input; slugs and titles have no escapes.
input=$(cat)
field() { printf '%s' "$input" | tr -d '\n' | sed -n 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p'; }

slug=$(field slug)
title=$(field title)
artist=$(field artist)
case $slug in
    '' | *[!a-z0-9-]*)
        echo "deploy-prep: the input names no release (slug \"$slug\")" >&2
        exit 2
        ;;
esac

echo "checking in with $target"
curl -fsS --max-time 10 "$target/status" >/dev/null

echo "copying site/ to deploy/$slug/"
mkdir -p "deploy/$slug"
cp -R site/. "deploy/$slug/"

echo "writing the page of \"$title\""
escape() { printf '%s' "$1" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'; }
cat >"deploy/$slug/release.html" <<EOF
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <title>$(escape "$title")</title>
    <link rel="stylesheet" href="css/site.css" />
  </head>
  <body>
    <main>
      <h1>$(escape "$title")</h1>
      <p>$(escape "$artist")</p>
    </main>
  </body>
</html>
EOF

echo "announcing the deploy"
curl -fsS --max-time 10 -H 'Content-Type: application/json' \
    -d "{\"release\":\"$slug\",\"files\":$(find "deploy/$slug" -type f | wc -l)}" \
    "$target/deployments" >/dev/null
echo "deploy/$slug is ready"
