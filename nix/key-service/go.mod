module fleetswap.dev/fleetswap-key-service

go 1.24
