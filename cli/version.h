/* The version that both programs print and the node says hello with. */
#ifndef CLI_VERSION_H
#define CLI_VERSION_H

#define CAMELLIA_VERSION "0.1.0"

#endif
