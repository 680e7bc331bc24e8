"""What every face stands on: options, handles, what is told of stores, loading."""
