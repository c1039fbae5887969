#!/bin/sh
# Prints the home of a JDK that can build and run this project: the first of JAVA_HOME and PATH that is new enough,
# else the oldest that is new enough among the usual install folders. Without one: one line on standard error, exit code 1.
set -u
wanted=25
unset IFS

# The feature version of the JDK in folder $1; nothing when there is none. A JRE, without javac, is none.
version_of() {
    [ -x "$1/bin/java" ] && [ -x "$1/bin/javac" ] || [ -x "$1/bin/javac.exe" ] || return 0
    version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$1/release" 2>/dev/null)
    [ -n "$version" ] || version=$("$1/bin/javac" -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')
    printf %s "$version"
}

new_enough() {
    version=$(version_of "$1")
    [ -n "$version" ] && [ "$version" -ge "$wanted" ]
}

if [ -n "${JAVA_HOME:-}" ] && new_enough "$JAVA_HOME"; then
    printf '%s\n' "$JAVA_HOME"
    exit 0
fi

# javac, and not java: on macOS /usr/bin/java is only a stub, and a symbolic link has to be followed to its folder.
IFS=:
for folder in $PATH; do
    [ -x "$folder/javac" ] || continue
    binary=$(readlink -f "$folder/javac" 2>/dev/null) || continue
    home=${binary%/bin/javac}
    if new_enough "$home"; then
        printf '%s\n' "$home"
        exit 0
    fi
done
unset IFS

best=
best_version=
for home in \
    /usr/lib/jvm/* /usr/lib64/jvm/* /usr/java/* /usr/local/java/* /opt/* /opt/java/* /opt/jdk/* \
    /Library/Java/JavaVirtualMachines/*/Contents/Home "${HOME:-}"/Library/Java/JavaVirtualMachines/*/Contents/Home \
    /opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home /usr/local/opt/openjdk*/libexec/openjdk.jdk/Contents/Home \
    "${HOME:-}"/.sdkman/candidates/java/* "${HOME:-}"/.jdks/* "${HOME:-}"/.jdks/*/Contents/Home "${HOME:-}"/.gradle/jdks/* \
    "${HOME:-}"/.asdf/installs/java/* "${HOME:-}"/.local/share/mise/installs/java/* "${HOME:-}"/.jbang/cache/jdks/* \
    "/c/Program Files"/Java/* "/c/Program Files"/"Eclipse Adoptium"/* "/c/Program Files"/Microsoft/jdk-* \
    "/c/Program Files"/Zulu/* "/c/Program Files"/"Amazon Corretto"/* "/c/Program Files"/BellSoft/*; do
    if new_enough "$home" && { [ -z "$best" ] || [ "$version" -lt "$best_version" ]; }; then
        best=$home
        best_version=$version
    fi
done
if [ -n "$best" ]; then
    printf '%s\n' "$best"
    exit 0
fi

echo "No JDK $wanted or newer found: looked at JAVA_HOME (${JAVA_HOME:-not set}), javac on PATH, and the usual folders" \
    "(/usr/lib/jvm, /usr/java, /opt, /Library/Java/JavaVirtualMachines, Homebrew, ~/.sdkman, ~/.jdks, ~/.gradle/jdks," \
    "asdf, mise, jbang, Program Files); install one or set JAVA_HOME." >&2
exit 1
