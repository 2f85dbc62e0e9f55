module fleetswap.dev/bench/server

go 1.24
