"""Speed and memory of Tacit, measured together with JaxMARL and OpenSpiel in one process: `make bench`."""
