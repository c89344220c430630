"""What a file of flow tests may say: `<flow>.test.yaml` beside `<flow>.yaml`."""
