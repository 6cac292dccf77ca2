"""Units that are learnt with the model that reads them: k-means as a part of the network."""
