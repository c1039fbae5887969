@echo off
rem Sets JAVA_HOME to a JDK that can build and run this project, as find-jdk.sh does: the first of JAVA_HOME and PATH that
rem is new enough, else the first in the usual install folders. Without one: one line on standard error, exit code 1.
set "QLORA_WANTED=25"
set "QLORA_JDK="

if defined JAVA_HOME call :try "%JAVA_HOME%"
for %%J in (javac.exe) do for %%B in ("%%~$PATH:J\..\..") do call :try "%%~fB"
for %%P in (
    "%ProgramFiles%\Java" "%ProgramFiles%\Eclipse Adoptium" "%ProgramFiles%\Microsoft" "%ProgramFiles%\Zulu"
    "%ProgramFiles%\Amazon Corretto" "%ProgramFiles%\BellSoft" "%LOCALAPPDATA%\Programs\Eclipse Adoptium"
    "%USERPROFILE%\.jdks" "%USERPROFILE%\.gradle\jdks" "%USERPROFILE%\scoop\apps\openjdk"
) do for /f "delims=" %%D in ('dir /b /ad "%%~P" 2^>nul') do call :try "%%~P\%%D"

if not defined QLORA_JDK goto :none
set "JAVA_HOME=%QLORA_JDK%"
exit /b 0

:none
echo No JDK %QLORA_WANTED% or newer found: looked at JAVA_HOME, javac on PATH, and the usual folders (Java, Eclipse Adoptium, Microsoft, Zulu, Amazon Corretto and BellSoft in Program Files, .jdks, .gradle\jdks, scoop); install one or set JAVA_HOME.>&2
exit /b 1

rem Takes the JDK in folder %1 if it is new enough and none was taken before.
:try
if defined QLORA_JDK goto :eof
if not exist "%~1\bin\javac.exe" goto :eof
if not exist "%~1\release" goto :eof
set "QLORA_VERSION=0"
for /f "usebackq tokens=1,2 delims==" %%K in ("%~1\release") do if "%%K"=="JAVA_VERSION" set "QLORA_VERSION=%%~L"
for /f "delims=.-+ " %%M in ("%QLORA_VERSION%") do if %%M geq %QLORA_WANTED% set "QLORA_JDK=%~1"
goto :eof
