process.stderr.write("usage: standin <command>\n\nNo command exists yet.\n");
process.exitCode = 2;
