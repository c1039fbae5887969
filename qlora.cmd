@echo off
rem Runs the command line from a clone, on Windows: builds cli\target\qlora-engine.jar when it is missing or older than its
rem sources.
setlocal
call "%~dp0.mvn\find-jdk.cmd"
if errorlevel 1 exit /b 1
set "QLORA_ROOT=%~dp0"
set "QLORA_JAR=%~dp0cli\target\qlora-engine.jar"

if not exist "%QLORA_JAR%" goto :build
powershell -NoProfile -Command ^
    "$built = (Get-Item -LiteralPath $env:QLORA_JAR).LastWriteTime;" ^
    "$root = $env:QLORA_ROOT;" ^
    "$sources = 'engine', 'nf4', 'lora', 'llama-loader', 'trainer', 'cuda-kernels', 'cli' | ForEach-Object { ($root + $_ + '\src\main'), ($root + $_ + '\pom.xml') };" ^
    "$newer = Get-ChildItem -Recurse -File -Path ($sources + ($root + 'pom.xml')) | Where-Object LastWriteTime -gt $built;" ^
    "exit [int][bool]$newer" && goto :run

:build
echo Building %QLORA_JAR% ...>&2
pushd "%QLORA_ROOT%"
rem Without the formatter's check, Error Prone and the tests: those are mvnw verify's.
call mvnw.cmd -q -B -ntp -DskipTests -Dqlora.fast package -pl cli -am 1>&2 || exit /b 1
popd
rem Maven leaves a jar alone that would come out the same.
powershell -NoProfile -Command "(Get-Item -LiteralPath $env:QLORA_JAR).LastWriteTime = Get-Date"

:run
"%JAVA_HOME%\bin\java.exe" -jar "%QLORA_JAR%" %*
exit /b %ERRORLEVEL%
