def ready(datamodule_class, root=None, **settings):
    """Return a prepared datamodule with batches of 8 clips, by default under the protocol loso24."""
    source = {} if root is None else {"root": str(root), "protocol": "loso24"}
    datamodule = datamodule_class(**{"batch_size": 8} | source | settings)
    datamodule.prepare_data()
    datamodule.setup()
    return datamodule
