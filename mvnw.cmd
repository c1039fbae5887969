@echo off
rem Runs Maven on a JDK that can build this project, whatever the default java is: mvnw verify
rem The same as mvnw, for Windows; the JDK is found by .mvn\find-jdk.cmd.
setlocal
call "%~dp0.mvn\find-jdk.cmd"
if errorlevel 1 exit /b 1
set "MAVEN_OPTS=%MAVEN_OPTS% --sun-misc-unsafe-memory-access=allow"

for /f "usebackq tokens=1,* delims==" %%A in ("%~dp0.mvn\wrapper\maven-wrapper.properties") do set "%%A=%%B"
for %%U in ("%distributionUrl:/=\%") do set "MVNW_FILE=%%~nxU"
set "MVNW_NAME=%MVNW_FILE:-bin.zip=%"
if not defined MAVEN_USER_HOME set "MAVEN_USER_HOME=%USERPROFILE%\.m2"
set "MVNW_DISTS=%MAVEN_USER_HOME%\wrapper\dists\%MVNW_NAME%"
set "MVNW_HOME=%MVNW_DISTS%\%distributionSha256Sum%"

if not exist "%MVNW_HOME%\bin\mvn.cmd" call :download
if not exist "%MVNW_HOME%\bin\mvn.cmd" goto :installed
"%MVNW_HOME%\bin\mvn.cmd" %*
exit /b %ERRORLEVEL%

:installed
where mvn.cmd >nul 2>nul || goto :none
echo mvnw: %MVNW_NAME% cannot be downloaded from %distributionUrl%; using the installed mvn>&2
mvn.cmd %*
exit /b %ERRORLEVEL%

:none
echo mvnw: %MVNW_NAME% cannot be downloaded from %distributionUrl%, and no mvn is on PATH>&2
exit /b 1

rem Into a folder of its own, which is moved to its place when all is well.
:download
set "MVNW_TEMP=%MVNW_DISTS%\download-%RANDOM%%RANDOM%"
mkdir "%MVNW_TEMP%" || exit /b 1
curl.exe -fsSL -o "%MVNW_TEMP%\maven.zip" "%distributionUrl%" 2>nul || goto :clean
certutil -hashfile "%MVNW_TEMP%\maven.zip" SHA256 | findstr /i "%distributionSha256Sum%" >nul || goto :tampered
pushd "%MVNW_TEMP%"
"%JAVA_HOME%\bin\jar.exe" xf maven.zip
popd
move "%MVNW_TEMP%\%MVNW_NAME%" "%MVNW_HOME%" >nul
:clean
rmdir /s /q "%MVNW_TEMP%"
exit /b 0
:tampered
echo mvnw: %distributionUrl%: its SHA-256 is not the one in maven-wrapper.properties>&2
goto :clean
