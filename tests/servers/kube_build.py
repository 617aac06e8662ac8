"""Builds kube-apiserver and kube-controller-manager once from Debian's own `kubernetes` source package.

No registry that can be reached offers a kube-apiserver binary, and nothing less than the real one shows conflicts,
server-side apply, dry runs and access reviews as production does. Debian 12 has version 1.20.2 with all its vendored
Go packages, so the build needs nothing but Debian's Go compiler.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from .common import ServerError, run, say

BINARIES = ("kube-apiserver", "kube-controller-manager")
VERSION = "1.20.2"
REFLECT2 = Path("/usr/share/gocode/src/github.com/modern-go/reflect2")


def is_built(cache):
    return all((cache / "kube" / name).exists() for name in BINARIES)


def build(cache):
    """Leaves the two binaries under CACHE/kube. The caller holds the cache's lock."""
    if is_built(cache):
        return
    work = cache / "kube-build"
    shutil.rmtree(work / "src", ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    say(f"kubernetes: building {' and '.join(BINARIES)} {VERSION} from Debian's source package (6 to 20 min, once)")
    tree = fetch_source(work)
    env = dict(os.environ, GOPATH=str(work / "src"), GOCACHE=str(work / "gocache"), GO111MODULE="off",
               CGO_ENABLED="0", GOFLAGS="", GOTOOLCHAIN="local")
    replace_reflect2(tree)
    generate_openapi(work, tree, env)
    compile_binaries(cache, work, tree, env)
    # 2 GB that nothing reads again
    shutil.rmtree(work, ignore_errors=True)
    say("kubernetes: built")


def fetch_source(work):
    """The source package, by apt with deb-src switched on in a private copy of the system's sources."""
    sources = work / "sources"
    shutil.rmtree(sources, ignore_errors=True)
    sources.mkdir()
    deb822 = Path("/etc/apt/sources.list.d/debian.sources")
    one_line = Path("/etc/apt/sources.list")
    if deb822.exists():
        text = re.sub(r"(?m)^Types:.*$", "Types: deb deb-src", deb822.read_text())
        (sources / "debian.sources").write_text(text)
    elif one_line.exists():
        lines = [line for line in one_line.read_text().splitlines() if re.match(r"deb\s", line)]
        both = lines + [re.sub(r"^deb\s", "deb-src ", line) for line in lines]
        (sources / "debian.list").write_text("\n".join(both) + "\n")
    else:
        raise ServerError("neither /etc/apt/sources.list.d/debian.sources nor /etc/apt/sources.list exists: "
                          "building kube-apiserver needs Debian 12's package sources")
    for folder in ("lists/partial", "archives/archives/partial"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    options = ["-q", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", f"Dir::Etc::sourceparts={sources}",
               "-o", f"Dir::State::lists={work}/lists", "-o", f"Dir::Cache={work}/archives",
               # apt drops to the user _apt, which cannot write in a home directory
               "-o", "APT::Sandbox::User=root"]
    run(["apt-get", *options, "update"], "apt-get update with source packages")
    run(["apt-get", *options, "source", "--download-only", "kubernetes"], "download of the kubernetes source package",
        cwd=work)
    tree = work / "src" / "src" / "k8s.io" / "kubernetes"
    tree.parent.mkdir(parents=True)
    description = next(work.glob("kubernetes_*.dsc"))
    # Integrity comes from apt, which checked the package against the signed lists; --no-check is about GnuPG keyrings.
    run(["dpkg-source", "-x", "--no-check", description, tree], "unpacking the kubernetes source package")
    return tree


def replace_reflect2(tree):
    """The vendored reflect2 1.0.1 crashes the server under Go 1.18 and later; Debian packages the repaired 1.0.2."""
    vendored = tree / "vendor/github.com/modern-go/reflect2"
    shutil.rmtree(vendored)
    shutil.copytree(REFLECT2, vendored, ignore=shutil.ignore_patterns("*_test.go"))


def nice(argv, what, tree, env):
    """Compilers run at low priority, so that a cargo build beside them keeps most of a small machine."""
    run(["nice", "-n", "10", *argv], what, cwd=tree, env=env)


def generate_openapi(work, tree, env):
    """Debian leaves zz_generated.openapi.go out of its source package; the server does not compile without it."""
    generator = work / "openapi-gen"
    # -trimpath must not be used here: without GOROOT the generator cannot resolve time.Duration.
    nice(["go", "build", "-o", generator, "./vendor/k8s.io/kube-openapi/cmd/openapi-gen"], "building openapi-gen",
         tree, env)
    excluded = re.compile(r"/testdata/|_test\.go|code-generator|sample-|/_examples")
    roots = ["pkg"] + [f"vendor/k8s.io/{entry.name}" for entry in sorted((tree / "vendor/k8s.io").iterdir())]
    # grep -R follows the symbolic links of vendor/k8s.io into staging/; exit 1 of one root is not an error
    listing = subprocess.run(
        ["grep", "-RlE", "--include=*.go", r"^// \+k8s:openapi-gen=", *[f"{root}/" for root in roots]],
        cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.decode().split()
    folders = sorted({str(Path(name).parent) for name in listing if not excluded.search(name)})
    if len(folders) < 40:
        raise ServerError(f"only {len(folders)} packages ask for OpenAPI definitions: the source tree is not as known")
    packages = ",".join(f"k8s.io/kubernetes/{folder}" for folder in folders)
    nice([generator, "--logtostderr", "-O", "zz_generated.openapi",
          "-h", "vendor/k8s.io/code-generator/hack/boilerplate.go.txt",
          "-p", "k8s.io/kubernetes/pkg/generated/openapi", "-i", packages, "-r", work / "openapi.report"],
         "generating OpenAPI definitions", tree, env)


def compile_binaries(cache, work, tree, env):
    component = "k8s.io/kubernetes/vendor/k8s.io/component-base/version"
    client = "k8s.io/kubernetes/vendor/k8s.io/client-go/pkg/version"
    flags = (f"-s -w -X {component}.gitVersion=v{VERSION} -X {component}.gitMajor=1 -X {component}.gitMinor=20 "
             f"-X {client}.gitVersion=v{VERSION}")
    out = work / "out"
    out.mkdir(exist_ok=True)
    nice(["go", "build", "-trimpath", "-p", "2", "-ldflags", flags, "-o", f"{out}/",
          *[f"./cmd/{name}" for name in BINARIES]], "building the Kubernetes binaries", tree, env)
    (cache / "kube").mkdir(parents=True, exist_ok=True)
    for name in BINARIES:
        # a rename inside one file system: the cache never holds half a binary
        os.replace(out / name, cache / "kube" / name)
