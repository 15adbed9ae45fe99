"""AWS as far as this project needs it, on one machine: the APIs on a socket, jobs and containers as processes."""
